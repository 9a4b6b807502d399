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

  constructor() {
    copyOnClick(byId('live-copy', HTMLButtonElement), () => this.#link.value);
    this.#link.addEventListener('focus', () => this.#link.select());
    byId('link-hint', HTMLElement).hidden = !isLocalAddress();
    setInterval(() => this.#tick(), 1000);
  }

  /** @param {string} name */
  show(name) {
    if (this.#card.hidden) this.#sinceMs = Date.now();
    this.#card.hidden = false;
    this.#link.value = watchUrl(name);
    byId('live-open', HTMLAnchorElement).href = watchUrl(name);
    this.#share.show(name);
    this.#set(true, 'On air');
    document.title = `Live: ${name} · FlashVSR Live`;
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
    setText(this.#clock, this.#onAir ? formatDuration(Date.now() - this.#sinceMs) : '');
  }
}
