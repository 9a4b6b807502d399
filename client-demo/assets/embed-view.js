/** @import {BroadcastStats} from '../../server/signaling/protocol.ts' */
/** @import {Overlay} from './compare-view.js' */
/** @import {Tracks} from './viewer.js' */
import { h, setText } from './dom.js';
import { icon, setIcon } from './icons.js';
import { Listeners } from './listeners.js';
import { PlayerKeys } from './player-keys.js';

/**
 * @typedef {object} EmbedOptions
 * @property {'contain' | 'pixel'} fit `pixel`: one pixel of the result on one pixel of the screen, and nothing but the picture
 * @property {boolean} sound start with sound, where the browser allows it
 */

/** @param {string} search of the page's address; the server has refused other values @returns {EmbedOptions} */
export function embedOptions(search) {
  const query = new URLSearchParams(search);
  return { fit: query.get('fit') === 'pixel' ? 'pixel' : 'contain', sound: query.get('sound') === '1' };
}

/**
 * The size in CSS pixels at which the full result has one pixel on one pixel of the screen. A viewer on a thin line gets the small
 * rendition: it fills the same place, so that a scene built around the picture stays as it is.
 * @param {{width: number, height: number}} output the full result
 * @param {{width: number, height: number}} shown what is decoded now
 * @param {number} ratio devicePixelRatio
 */
export function pixelSize(output, shown, ratio) {
  const { width, height } = output.width > 0 && output.height > 0 ? output : shown;
  return { width: width / ratio, height: height / ratio };
}

/** One picture, as large as the page, with a button for sound. */
export class EmbedView {
  #root;
  #video;
  #overlay;
  #sound;
  #fit;
  #startsWithSound;
  #output = { width: 0, height: 0 };

  /** It never does. @type {Listeners<boolean>} */
  onShowsSource = new Listeners();

  /** @param {HTMLElement} root @param {EmbedOptions} options */
  constructor(root, { fit, sound }) {
    this.#root = root;
    this.#fit = fit;
    this.#startsWithSound = sound;
    document.documentElement.dataset['fit'] = fit;
    this.#video = h('video', { playsinline: true, muted: true, autoplay: true, disableremoteplayback: true });
    this.#video.muted = true;
    this.#overlay = h('div', { class: 'overlay', role: 'status', hidden: true });
    this.#sound = h('button', { type: 'button', class: 'sound', hidden: true }, icon('muted'), h('span', {}, 'Unmute'));
    this.#sound.addEventListener('click', () => this.#toggleSound());
    root.append(this.#video, this.#overlay, this.#sound);
    this.#video.addEventListener('resize', () => this.#resize());
    this.#video.addEventListener('volumechange', () => this.#showSound());
    addEventListener('resize', () => this.#resize());
    if (fit === 'pixel') return;
    this.#video.addEventListener('click', () => this.#sound.hidden || this.#toggleSound());
    new PlayerKeys(root, {
      enabled: () => this.#playing,
      fullScreen: () => void this.#toggleFullScreen(),
      mute: () => this.#sound.hidden || this.#toggleSound(),
      play: () => (this.#video.paused ? void this.#video.play().catch(() => {}) : this.#video.pause()),
      picture: () => void this.#video.requestPictureInPicture?.().catch(() => {}),
      volume: (step) => this.#sound.hidden || this.#setVolume(this.#video.volume + step),
    });
  }

  get videos() {
    return { result: this.#video };
  }

  /** Nothing is compared here. @returns {number | undefined} */
  get lagMs() {
    return undefined;
  }

  get showsSource() {
    return false;
  }

  /** @param {Tracks} tracks */
  prepareTracks({ result }) {
    if (this.#video.srcObject !== result) this.#video.srcObject = result;
    void this.#play();
  }

  startLive() {
    this.#resize();
  }

  /** @param {Overlay | undefined} overlay */
  setOverlay(overlay) {
    this.#root.toggleAttribute('data-playing', overlay === undefined);
    // A scene in OBS shows the picture or nothing.
    this.#overlay.hidden = overlay === undefined || this.#fit === 'pixel';
    if (overlay === undefined) return this.#overlay.replaceChildren();
    const { title, text = '' } = overlay;
    const [shownTitle, shownText] = this.#overlay.children[0]?.children ?? [];
    if (shownTitle === undefined || shownText === undefined) {
      this.#overlay.replaceChildren(h('div', {}, h('strong', {}, title), h('p', {}, text)));
      return;
    }
    setText(shownTitle, title);
    setText(shownText, text);
  }

  /** @param {BroadcastStats['source']} _source @param {BroadcastStats['output']} output */
  setFacts(_source, output) {
    this.#output = output;
    this.#resize();
  }

  /** @param {boolean} present */
  setAudioPresent(present) {
    this.#sound.hidden = !present || this.#fit === 'pixel';
  }

  get #playing() {
    return this.#root.hasAttribute('data-playing');
  }

  /** Browser sources and sites that people have used before may start with sound; elsewhere it takes a click. */
  async #play() {
    const video = this.#video;
    if (this.#startsWithSound) {
      video.muted = false;
      try {
        await video.play();
        return;
      } catch {
        video.muted = true;
      }
    }
    await video.play().catch(() => {
      // Refused also without sound (saving data or battery): the next click on the page starts it.
      addEventListener('pointerdown', () => void video.play().catch(() => {}), { once: true });
    });
  }

  #toggleSound() {
    const video = this.#video;
    video.muted = !video.muted;
    if (!video.muted && video.volume === 0) video.volume = 1;
    void video.play().catch(() => {});
  }

  /** @param {number} volume */
  #setVolume(volume) {
    this.#video.volume = Math.min(1, Math.max(0, Math.round(volume * 20) / 20));
    this.#video.muted = this.#video.volume === 0;
  }

  #showSound() {
    const on = !this.#video.muted;
    this.#sound.dataset['on'] = String(on);
    setIcon(this.#sound, on ? 'sound' : 'muted');
    setText(/** @type {Element} */ (this.#sound.querySelector('span')), on ? 'Mute' : 'Unmute');
  }

  async #toggleFullScreen() {
    try {
      if (document.fullscreenElement === null) await this.#root.requestFullscreen();
      else await document.exitFullscreen();
    } catch {
      // The frame lacks allow="fullscreen".
    }
  }

  #resize() {
    if (this.#fit !== 'pixel') return;
    const { videoWidth, videoHeight } = this.#video;
    const { width, height } = pixelSize(this.#output, { width: videoWidth, height: videoHeight }, devicePixelRatio);
    if (width === 0) return;
    this.#video.style.setProperty('--pixel-width', `${width}px`);
    this.#video.style.setProperty('--pixel-height', `${height}px`);
  }
}
