/** @import {BroadcastStats} from '../../server/signaling/protocol.ts' */
/** @import {Tracks} from './viewer.js' */
import { h, icon, setIcon, setText } from './dom.js';
import { formatSize, isSuperResolution } from './format.js';
import { Loupe } from './loupe.js';
import { TrackSync } from './track-sync.js';

/** @typedef {'wipe' | 'split' | 'result' | 'original'} CompareMode */
/**
 * @typedef {object} Overlay
 * @property {string} title
 * @property {string} [text]
 * @property {boolean} [busy]
 * @property {Node} [extra]
 */

/** @type {{mode: CompareMode, label: string, icon: string}[]} */
const MODES = [
  { mode: 'wipe', label: 'Slider', icon: 'wipe' },
  { mode: 'split', label: 'Side by side', icon: 'split' },
  { mode: 'result', label: 'Result', icon: 'eye' },
  { mode: 'original', label: 'Original', icon: 'camera' },
];

/**
 * Original and result in one stage. Both are shown at the same size by the browser's own scaling: nothing is done to
 * either that the other does not get.
 */
export class CompareView {
  #stage;
  #pictures;
  #original;
  #result;
  #originalCaption;
  #resultCaption;
  #range;
  #overlay;
  #soundButton;
  #loupeButton;
  #loupe;
  /** @type {Map<CompareMode, HTMLInputElement>} */
  #modeInputs = new Map();
  /** @type {CompareMode} */
  #mode = 'wipe';
  /** @type {'empty' | 'preview' | 'live'} */
  #content = 'empty';
  #hasSource = false;
  #superResolution = false;
  /** @type {TrackSync | undefined} */
  #sync;

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#original = video();
    this.#result = video();
    this.#originalCaption = h('figcaption', { class: 'tag' });
    this.#resultCaption = h('figcaption', { class: 'tag tag-result' });
    this.#range = h('input', {
      type: 'range',
      class: 'wipe-range',
      min: '0',
      max: '100',
      step: '0.5',
      value: '50',
      'aria-label': 'Divider between original (left) and result (right)',
    });
    this.#pictures = h(
      'div',
      { class: 'pictures' },
      h('figure', { class: 'picture picture-original' }, this.#original, this.#originalCaption),
      h('figure', { class: 'picture picture-result' }, this.#result, this.#resultCaption),
      h('div', { class: 'divider', 'aria-hidden': 'true' }, h('span', { class: 'grip' }, icon('grip'))),
      this.#range,
    );
    this.#overlay = h('div', { class: 'overlay', role: 'status', 'aria-live': 'polite' });
    this.#stage = h(
      'div',
      { class: 'stage', 'data-mode': 'wipe', 'data-content': 'empty' },
      this.#pictures,
      this.#overlay,
    );
    this.#loupe = new Loupe(this.#pictures, this.#original, this.#result);
    this.#loupeButton = this.#button('loupe', 'Loupe: magnify both pictures', () => this.#toggleLoupe());
    this.#loupeButton.setAttribute('aria-pressed', 'false');
    this.#soundButton = this.#button('muted', 'Turn sound on', () => this.#toggleSound());
    this.#soundButton.hidden = true;
    this.#soundButton.classList.add('sound-button');
    this.#soundButton.append(h('span', {}, 'Sound on'));
    const full = this.#button('full', 'Full screen', () => this.#toggleFullScreen());
    full.hidden = document.fullscreenEnabled !== true;
    const bar = h(
      'div',
      { class: 'stage-bar' },
      this.#modeControl(),
      h('div', { class: 'stage-actions' }, this.#soundButton, this.#loupeButton, full),
    );
    root.append(this.#stage, bar);
    this.#range.addEventListener('input', () => this.#setWipe(Number(this.#range.value)));
    this.#range.addEventListener('keydown', (event) => this.#onKey(event));
    for (const element of [this.#original, this.#result]) {
      element.addEventListener('resize', () => this.#updateAspect());
      element.addEventListener('loadeddata', () => this.#updateAspect());
    }
    this.#setWipe(50);
    this.#update();
  }

  /** The video elements, for those who read pixels. */
  get videos() {
    return { original: this.#original, result: this.#result };
  }

  /** How far apart the two pictures are shown, in ms, measured; undefined while it is not. */
  get lagMs() {
    return this.#sync?.lagMs;
  }

  /** What will be sent, before the server is part of it. @param {MediaStream} stream @param {string} label */
  showPreview(stream, label) {
    this.#sync?.close();
    this.#sync = undefined;
    this.#content = 'preview';
    this.#result.srcObject = null;
    play(this.#original, stream);
    setText(this.#originalCaption, label);
    this.#update();
  }

  /** @param {Tracks} tracks */
  showTracks({ result, source, sourceReceiver }) {
    this.#sync?.close();
    this.#sync = undefined;
    this.#content = 'live';
    this.#hasSource = source !== undefined;
    play(this.#result, result);
    if (source === undefined) this.#original.srcObject = null;
    else play(this.#original, source);
    if (sourceReceiver !== undefined) this.#sync = new TrackSync(this.#original, this.#result, sourceReceiver);
    this.#update();
  }

  showNothing() {
    this.#sync?.close();
    this.#sync = undefined;
    this.#content = 'empty';
    this.#original.srcObject = null;
    this.#result.srcObject = null;
    this.#loupe.setActive(false);
    this.#soundButton.hidden = true;
    this.#result.muted = true;
    this.#update();
  }

  /** @param {Overlay | undefined} overlay */
  setOverlay(overlay) {
    this.#stage.classList.toggle('covered', overlay !== undefined);
    this.#overlay.hidden = overlay === undefined;
    if (overlay === undefined) {
      this.#overlay.replaceChildren();
      return;
    }
    const { title, text, busy, extra } = overlay;
    const key = `${title}|${text ?? ''}|${busy ?? false}`;
    if (this.#overlay.dataset['key'] === key && this.#overlay.childElementCount > 0) return;
    this.#overlay.dataset['key'] = key;
    const box = h('div', { class: 'overlay-box' });
    if (busy) box.append(h('span', { class: 'spinner', 'aria-hidden': 'true' }));
    box.append(h('h2', {}, title));
    if (text) box.append(h('p', {}, text));
    if (extra) box.append(extra);
    this.#overlay.replaceChildren(box);
  }

  /**
   * @param {{width: number, height: number}} source as the server decodes it
   * @param {{width: number, height: number}} output
   * @param {BroadcastStats['model']} model
   * @param {number} addedMs
   */
  setFacts(source, output, model, addedMs) {
    this.#superResolution = isSuperResolution(model);
    this.#sync?.setServerLatency(addedMs);
    if (this.#content !== 'live') return;
    setText(this.#originalCaption, `Original ${formatSize(source.width, source.height)}`);
    // What is shown counts, not what was meant: a viewer on a thin line gets the picture at the source's size.
    const { videoWidth, videoHeight } = this.#result;
    const small = videoWidth > 0 && videoWidth < output.width;
    const name = small ? 'Small picture for a thin line' : this.#resultName();
    setText(this.#resultCaption, `${name} ${formatSize(videoWidth || output.width, videoHeight || output.height)}`);
  }

  /** @param {boolean} present */
  setAudioPresent(present) {
    this.#soundButton.hidden = !present || this.#content !== 'live';
  }

  #resultName() {
    return this.#superResolution ? 'Super-resolution' : 'Plain resize';
  }

  #modeControl() {
    const group = h('div', { class: 'segmented', role: 'radiogroup', 'aria-label': 'How to compare' });
    for (const { mode, label, icon: name } of MODES) {
      const input = h('input', { type: 'radio', name: 'compare-mode', value: mode, class: 'visually-hidden' });
      input.checked = mode === this.#mode;
      input.addEventListener('change', () => {
        this.#mode = mode;
        this.#update();
      });
      this.#modeInputs.set(mode, input);
      group.append(h('label', { title: label }, input, icon(name), h('span', {}, label)));
    }
    return group;
  }

  /** @param {string} name @param {string} label @param {() => void} run */
  #button(name, label, run) {
    const button = h('button', { type: 'button', class: 'icon-button', 'aria-label': label, title: label }, icon(name));
    button.addEventListener('click', run);
    return button;
  }

  #update() {
    const live = this.#content === 'live';
    const mode = live ? (this.#hasSource ? this.#mode : 'result') : 'original';
    this.#stage.dataset['mode'] = mode;
    this.#stage.dataset['content'] = this.#content;
    this.#range.disabled = mode !== 'wipe';
    this.#loupeButton.disabled = !live || !this.#hasSource;
    if (mode === 'split' || this.#loupeButton.disabled) this.#loupe.setActive(false);
    this.#loupeButton.setAttribute('aria-pressed', String(this.#loupe.active));
    for (const [each, input] of this.#modeInputs) {
      input.disabled = !live || (!this.#hasSource && each !== 'result');
    }
    this.#updateAspect();
  }

  #updateAspect() {
    const shown = this.#result.videoWidth > 0 && this.#content === 'live' ? this.#result : this.#original;
    const { videoWidth, videoHeight } = shown;
    this.#stage.style.setProperty('--aspect', videoWidth > 0 ? String(videoWidth / videoHeight) : String(16 / 9));
  }

  /** @param {number} percent */
  #setWipe(percent) {
    this.#pictures.style.setProperty('--wipe', `${percent}%`);
    this.#range.setAttribute('aria-valuetext', `${Math.round(percent)} % original`);
  }

  /** With the loupe on, arrow keys move it instead of the divider. @param {KeyboardEvent} event */
  #onKey(event) {
    if (!this.#loupe.active) return;
    const step = /** @type {Record<string, [number, number]>} */ ({
      ArrowLeft: [-0.03, 0],
      ArrowRight: [0.03, 0],
      ArrowUp: [0, -0.05],
      ArrowDown: [0, 0.05],
    })[event.key];
    if (step === undefined) return;
    event.preventDefault();
    this.#loupe.move(...step);
  }

  #toggleLoupe() {
    if (!this.#loupe.active && this.#mode === 'split') {
      const wipe = this.#modeInputs.get('wipe');
      if (wipe !== undefined) wipe.checked = true;
      this.#mode = 'wipe';
    }
    this.#loupe.setActive(!this.#loupe.active);
    this.#update();
    if (this.#loupe.active) this.#range.focus({ preventScroll: true });
  }

  /** Browsers let a page start with sound only after a click, so every page starts muted. */
  #toggleSound() {
    this.#result.muted = !this.#result.muted;
    const on = !this.#result.muted;
    setIcon(this.#soundButton, on ? 'sound' : 'muted');
    this.#soundButton.setAttribute('aria-label', on ? 'Turn sound off' : 'Turn sound on');
    setText(/** @type {Element} */ (this.#soundButton.querySelector('span')), on ? 'Sound off' : 'Sound on');
    void this.#result.play().catch(() => {});
  }

  #toggleFullScreen() {
    if (document.fullscreenElement === null) void this.#stage.requestFullscreen().catch(() => {});
    else void document.exitFullscreen();
  }
}

function video() {
  const element = h('video', { playsinline: true, muted: true, autoplay: true, disableremoteplayback: true });
  element.muted = true;
  return element;
}

/** @param {HTMLVideoElement} element @param {MediaStream} stream */
function play(element, stream) {
  element.srcObject = stream;
  // A browser that saves data or battery may refuse even muted playback; the next click on the page starts it.
  element.play().catch(() => {
    addEventListener('pointerdown', () => void element.play().catch(() => {}), { once: true });
  });
}
