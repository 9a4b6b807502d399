import { setIcon } from './icons.js';

/** Without a movement for this long the controls fade. */
const IDLE_MS = 3000;

/** @typedef {HTMLVideoElement & {webkitEnterFullscreen?: () => void, webkitSupportsFullscreen?: boolean}} PhoneVideo */

/** The player over the whole screen with its controls; iPhones can do it with the video alone. */
export class FullScreen {
  #player;
  /** @type {PhoneVideo} */
  #video;
  #button;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {HTMLElement} player @param {PhoneVideo} video @param {HTMLButtonElement} button */
  constructor(player, video, button) {
    this.#player = player;
    this.#video = video;
    this.#button = button;
    button.hidden = document.fullscreenEnabled !== true && video.webkitEnterFullscreen === undefined;
    document.addEventListener('fullscreenchange', () => this.#show());
    for (const type of ['pointermove', 'pointerdown', 'keydown', 'focusin']) {
      player.addEventListener(type, () => this.#wake());
    }
  }

  get active() {
    return document.fullscreenElement === this.#player;
  }

  toggle() {
    if (this.active) void document.exitFullscreen();
    else if (document.fullscreenEnabled) void this.#player.requestFullscreen().catch(() => {});
    else this.#video.webkitEnterFullscreen?.();
  }

  #show() {
    setIcon(this.#button, this.active ? 'exitFull' : 'full');
    const text = this.active ? 'Leave full screen' : 'Full screen';
    this.#button.setAttribute('aria-label', text);
    this.#button.setAttribute('title', text);
    this.#wake();
  }

  #wake() {
    clearTimeout(this.#timer);
    this.#player.classList.remove('idle');
    if (this.active) this.#timer = setTimeout(() => this.#player.classList.add('idle'), IDLE_MS);
  }
}
