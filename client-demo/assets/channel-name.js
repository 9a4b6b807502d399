/** @import {BroadcastSummary} from '../../server/signaling/protocol.ts' */
/** @import {Notice} from './notice.js' */
/** @import {PublishForm} from './publish-form.js' */
/** @import {PageStore} from './settings.js' */
import { isBroadcastName } from './broadcast-name.js';
import { isLiveElsewhere, locksWork } from './live-lock.js';
import { suggestName } from './settings.js';

/** The name under which this browser broadcasts, kept for its next visit; one tab at a time is live under it. */
export class ChannelName {
  #store;
  #form;
  #notice;
  /** The suggested name of a tab beside the one that is live under the channel's name. @type {string | undefined} */
  #substitute;
  #greeted = false;

  /** @param {PageStore} store @param {PublishForm} form @param {Notice} notice */
  constructor(store, form, notice) {
    this.#store = store;
    this.#form = form;
    this.#notice = notice;
  }

  /** Takes the name that the address asks for, or the kept one, unless another tab of this browser is live under it. */
  async claim() {
    const asked = new URLSearchParams(location.search).get('name');
    if (asked !== null && isBroadcastName(asked)) {
      // Of a link that says under which name to go live (`cli webcam`): for this tab alone.
      this.#substitute = asked;
      this.#form.setName(asked);
      return this.save();
    }
    const { name } = this.#form.settings;
    const copied = !locksWork() && performance.getEntriesByType('navigation').every((entry) => !isReload(entry));
    // A tab that was duplicated has a copy of the first one's storage, token included.
    if (copied) this.#store.forgetResumeToken(name);
    // What was typed while the other tabs were asked stays.
    else if ((await isLiveElsewhere(name)) && this.#form.settings.name === name) {
      this.#substitute = suggestName();
      this.#form.setName(this.#substitute);
    }
    this.save();
  }

  /** Keeps the form's settings; a substitute stays with its tab. */
  save() {
    const { settings } = this.#form;
    this.#store.save(settings, { keepName: settings.name !== this.#substitute });
  }

  /**
   * Once: the server holds this browser's name for its return, or a program publishes under it.
   * @param {readonly BroadcastSummary[]} broadcasts the server's list
   */
  greet(broadcasts) {
    const { name } = this.#form.settings;
    if (this.#greeted) return;
    this.#greeted = true;
    const own = broadcasts.find((each) => each.name === name);
    if (own === undefined) return;
    if (this.#store.resumeToken(name) !== undefined) {
      const text = 'Go live again and your viewers carry on under the same link.';
      this.#notice.show({ tone: 'info', title: `You were live as “${name}”.`, text });
    } else if (this.#store.streamKey(name) !== undefined && own.state === 'live') {
      const text = 'If your own program publishes it, “Go live” takes over from there and your viewers carry on.';
      this.#notice.show({ tone: 'info', title: `“${name}” is live.`, text });
    }
  }
}

/** @param {PerformanceEntry} entry */
function isReload(entry) {
  return /** @type {PerformanceNavigationTiming} */ (entry).type === 'reload';
}
