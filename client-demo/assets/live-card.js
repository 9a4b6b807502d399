/** @import {SignalingClient} from './signaling-client.js' */
import { withKey } from './access-key.js';
import { watchUrl } from './broadcast-list.js';
import { byId, copyOnClick, setText } from './dom.js';
import { formatDuration } from './format.js';
import { isLocalAddress } from './local-address.js';
import { SharePanel } from './share-panel.js';

/** "On air": since when, under which link, and who can open it. */
export class LiveCard {
  #card = byId('live-card', HTMLElement);
  #title = byId('live-title', HTMLElement);
  #text = byId('live-text', HTMLElement);
  #link = byId('live-link', HTMLInputElement);
  #clock = byId('live-clock', HTMLElement);
  #share = new SharePanel(byId('live-share', HTMLElement));
  #sinceMs = 0;
  #onAir = false;
  #signaling;
  #name = '';
  /** When the link's token is replaced by one that lasts longer. */
  #renewAtMs = Infinity;

  /** @param {SignalingClient} signaling */
  constructor(signaling) {
    this.#signaling = signaling;
    copyOnClick(byId('live-copy', HTMLButtonElement), () => this.#link.value);
    this.#link.addEventListener('focus', () => this.#link.select());
    byId('link-hint', HTMLElement).hidden = !isLocalAddress();
    setInterval(() => this.#tick(), 1000);
  }

  get onAir() {
    return this.#onAir && !this.#card.hidden;
  }

  /** @param {string} name */
  show(name) {
    if (this.#card.hidden) this.#sinceMs = Date.now();
    this.#card.hidden = false;
    if (name !== this.#name) {
      this.#name = name;
      void this.#renewLink();
    }
    this.#set(true, 'On air');
    document.title = `Live: ${name} · FlashVSR Live`;
  }

  /** Unless the server is open, the link has a token to watch this name; it ends some time, and the next one is asked for before. */
  async #renewLink() {
    const { state } = this.#signaling;
    const name = this.#name;
    this.#renewAtMs = Infinity;
    if (state.kind !== 'open' || state.welcome.access === 'open') return this.#showLink(name, undefined);
    try {
      const { token, expiresAt } = await this.#signaling.request({ type: 'share', name });
      if (name !== this.#name) return;
      this.#showLink(name, token);
      this.#renewAtMs = Date.now() + Math.max(30_000, (Date.parse(expiresAt) - Date.now()) / 2);
    } catch {
      // The line is away: the link that is there goes on working for a while.
      this.#renewAtMs = Date.now() + 10_000;
    }
  }

  /** @param {string} name @param {string | undefined} key */
  #showLink(name, key) {
    const link = withKey(watchUrl(name), key);
    this.#link.value = link;
    byId('live-open', HTMLAnchorElement).href = link;
    this.#share.show(name, key);
  }

  /** The broadcast is interrupted; it is the same one when it returns. */
  interrupt() {
    this.#set(false, 'Off air, reconnecting');
    document.title = 'FlashVSR Live';
  }

  /** @param {number} ms what the server adds */
  showDelay(ms) {
    this.#share.showDelay(ms);
  }

  hide() {
    this.#card.hidden = true;
    this.#name = '';
    this.#renewAtMs = Infinity;
    document.title = 'FlashVSR Live';
  }

  /** @param {boolean} onAir @param {string} text */
  #set(onAir, text) {
    this.#onAir = onAir;
    this.#title.dataset['state'] = onAir ? 'live' : 'interrupted';
    setText(this.#text, text);
    this.#tick();
  }

  #tick() {
    if (this.#onAir && Date.now() > this.#renewAtMs) void this.#renewLink();
    setText(this.#clock, this.#onAir ? formatDuration(Date.now() - this.#sinceMs) : '');
  }
}
