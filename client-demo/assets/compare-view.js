/** @import {BroadcastStats} from '../../server/signaling/protocol.ts' */
/** @import {Tracks} from './viewer.js' */
import { h, setText } from './dom.js';
import { formatSize, isSuperResolution, rungNote } from './format.js';
import { icon } from './icons.js';
import { Listeners } from './listeners.js';
import { Loupe } from './loupe.js';
import { PlayerBar } from './player-bar.js';
import { TrackSync } from './track-sync.js';

/** @typedef {'wipe' | 'split' | 'result' | 'original'} CompareMode */
/** @typedef {'empty' | 'example' | 'preview' | 'waiting' | 'live'} StageContent */
/**
 * @typedef {object} Overlay
 * @property {string} title
 * @property {string} [text]
 * @property {boolean} [busy]
 * @property {Node} [extra]
 */

/**
 * Original and result in one stage, with the player's controls. Both pictures are shown at the same size by the browser's own
 * scaling: nothing is done to either that the other does not get.
 */
export class CompareView {
  #root;
  #stage;
  #pictures;
  #original;
  #result;
  #originalCaption;
  #resultCaption;
  #range;
  #overlay;
  #note;
  #bar;
  #loupe;
  /** @type {CompareMode} */
  #mode;
  /** @type {StageContent} */
  #content = 'empty';
  /** The source's picture is there. */
  #hasSource = false;
  /** The server would send it. */
  #sourceOffered = false;
  #loupeAwaited = false;
  #superResolution = false;
  #actualSize = false;
  /** @type {HTMLImageElement[]} */
  #stills = [];
  /** @type {TrackSync | undefined} */
  #sync;
  /** @type {Tracks | undefined} */
  #next;
  /** @type {MediaStream | undefined} */
  #source;

  /** Whether the mode shows the source, which is sent only then. @type {Listeners<boolean>} */
  onShowsSource = new Listeners();

  /** @param {HTMLElement} root @param {{mode?: CompareMode}} [options] the mode to begin with */
  constructor(root, { mode = 'wipe' } = {}) {
    this.#root = root;
    this.#mode = mode;
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
    this.#stage = h('div', { class: 'stage' }, this.#pictures, this.#overlay);
    this.#note = h('p', { class: 'rung-note', role: 'status', hidden: true });
    root.classList.add('player');
    root.append(this.#stage, this.#note);
    this.#loupe = new Loupe(this.#stage, this.#pictures, this.#original, this.#result);
    this.#bar = new PlayerBar(root, this.videos, mode, {
      captions: () => [this.#originalCaption.textContent ?? '', this.#resultCaption.textContent ?? ''],
    });
    this.#bar.onMode.add((chosen) => this.#choose(chosen));
    this.#bar.onLoupe.add(() => this.#toggleLoupe());
    this.#bar.onActualSize.add((on) => {
      this.#actualSize = on;
      this.#update();
    });
    this.#range.addEventListener('input', () => this.#setWipe(Number(this.#range.value)));
    this.#range.addEventListener('keydown', (event) => this.#onKey(event));
    this.#original.addEventListener('loadeddata', () => {
      if (this.#source === undefined || this.#original.srcObject !== this.#source) return;
      this.#hasSource = true;
      this.#update();
      if (this.#loupeAwaited) this.#toggleLoupe();
    });
    for (const element of [this.#original, this.#result]) {
      element.addEventListener('resize', () => this.#updateSize());
      element.addEventListener('loadeddata', () => this.#updateSize());
    }
    this.#setWipe(50);
    this.#update();
  }

  /** The video elements, for callers that read pixels. */
  get videos() {
    return { original: this.#original, result: this.#result };
  }

  /** The player's controls. */
  get bar() {
    return this.#bar;
  }

  get showsSource() {
    return this.#mode !== 'result';
  }

  /** How far apart the two pictures are shown, in ms, measured; undefined while it is not. */
  get lagMs() {
    return this.#sync?.lagMs;
  }

  /**
   * Two stills to compare while nothing is live.
   * @param {{src: string, label: string}} original
   * @param {{src: string, label: string}} result
   */
  showExample(original, result) {
    this.showNothing();
    this.#content = 'example';
    this.#stills = [original, result].map(({ src, label }) => h('img', { src, alt: label }));
    this.#stills.forEach((still, index) => [this.#original, this.#result][index]?.after(still));
    setText(this.#originalCaption, original.label);
    setText(this.#resultCaption, result.label);
    this.#update();
  }

  /** The own picture, before the server is part of it or while it is away. @param {MediaStream} stream @param {string} label */
  showPreview(stream, label) {
    this.#reset();
    this.#content = 'preview';
    this.#result.srcObject = null;
    play(this.#original, stream);
    setText(this.#originalCaption, label);
    this.#update();
  }

  /**
   * Tracks that will bring pictures. The stage keeps what it shows until `startLive`, so that nothing turns black.
   * @param {Tracks} tracks
   */
  prepareTracks(tracks) {
    this.#next = tracks;
    play(this.#result, tracks.result);
    if (this.#content !== 'empty' && this.#content !== 'example') return;
    this.#reset();
    this.#content = 'waiting';
    this.#update();
  }

  /** The first picture of the prepared tracks is there. */
  startLive() {
    const tracks = this.#next;
    if (tracks === undefined) return;
    this.#next = undefined;
    this.#reset();
    this.#content = 'live';
    // The source may come later than the result: until then the result stands alone instead of beside black.
    this.#source = tracks.source;
    this.#sourceOffered = true;
    this.#original.srcObject = null;
    if (this.showsSource) play(this.#original, tracks.source);
    this.#sync = new TrackSync(this.#original, this.#result, tracks.sourceReceiver);
    this.#update();
  }

  showNothing() {
    this.#reset();
    this.#next = undefined;
    this.#content = 'empty';
    this.#original.srcObject = null;
    this.#result.srcObject = null;
    this.#bar.setSound(false);
    this.#update();
  }

  /** @param {Overlay | undefined} overlay */
  setOverlay(overlay) {
    this.#stage.classList.toggle('covered', overlay !== undefined);
    this.#overlay.hidden = overlay === undefined;
    this.#bar.setCovered(overlay !== undefined);
    if (overlay === undefined) {
      this.#overlay.replaceChildren();
      return;
    }
    this.#note.hidden = true;
    const { title, text, busy, extra } = overlay;
    const key = `${title}|${text ?? ''}|${busy ?? false}`;
    if (this.#overlay.dataset['key'] === key && this.#overlay.childElementCount > 0) return;
    this.#overlay.dataset['key'] = key;
    const box = h('div', { class: 'overlay-box' });
    if (busy) box.append(h('span', { class: 'spinner', 'aria-hidden': 'true' }));
    box.append(h('p', { class: 'overlay-title' }, title));
    if (text) box.append(h('p', {}, text));
    if (extra) box.append(extra);
    this.#overlay.replaceChildren(box);
  }

  /**
   * @param {{width: number, height: number, forwarded: boolean}} source as the server decodes it
   * @param {{width: number, height: number}} output
   * @param {BroadcastStats['model']} model
   * @param {number} addedMs
   */
  setFacts(source, output, model, addedMs) {
    this.#superResolution = isSuperResolution(model);
    this.#sync?.setServerLatency(addedMs);
    if (this.#content !== 'live') return;
    const note = rungNote(model, source, output);
    this.#note.hidden = note === undefined || !this.#overlay.hidden;
    setText(this.#note, note ?? '');
    setText(this.#originalCaption, named('Original', source.width, source.height));
    // A source with B-frames is not forwarded: what is there of it stands still.
    if (source.forwarded !== this.#sourceOffered) {
      this.#sourceOffered = source.forwarded;
      if (!source.forwarded) this.#hasSource = false;
      this.#update();
    }
    // What is shown counts, not what was meant: a viewer on a thin line gets the picture at the source's size.
    const { videoWidth, videoHeight } = this.#result;
    const small = videoWidth > 0 && videoWidth < output.width;
    const name = small ? 'Small picture for a thin line' : this.#resultName();
    setText(this.#resultCaption, named(name, videoWidth || output.width, videoHeight || output.height));
  }

  /** @param {boolean} present */
  setAudioPresent(present) {
    this.#bar.setSoundPresent(present && this.#content === 'live');
  }

  #resultName() {
    return this.#superResolution ? 'Super-resolution' : 'Plain resize';
  }

  /** What belongs to the content before. */
  #reset() {
    this.#sync?.close();
    this.#sync = undefined;
    this.#source = undefined;
    this.#hasSource = false;
    this.#sourceOffered = false;
    this.#loupeAwaited = false;
    for (const still of this.#stills.splice(0)) still.remove();
    for (const caption of [this.#originalCaption, this.#resultCaption]) setText(caption, '');
    this.#note.hidden = true;
    if (this.#content === 'live') this.#loupe.setActive(false);
  }

  #update() {
    const live = this.#content === 'live';
    const both = (live && this.#hasSource) || this.#content === 'example';
    const alone = live ? 'result' : this.#content === 'waiting' ? 'result' : 'original';
    const mode = this.#content === 'example' ? 'wipe' : both ? this.#mode : alone;
    this.#stage.dataset['mode'] = mode;
    this.#root.dataset['content'] = this.#content;
    this.#root.toggleAttribute('data-actual-size', live && this.#actualSize);
    this.#range.disabled = mode !== 'wipe';
    if (mode === 'split' || !live || !this.#hasSource) this.#loupe.setActive(false);
    this.#bar.setContent({ live, hasSource: this.#sourceOffered, loupe: this.#loupe.active });
    this.#updateSize();
  }

  #updateSize() {
    const shown = this.#result.videoWidth > 0 && this.#content === 'live' ? this.#result : this.#original;
    const { videoWidth, videoHeight } = shown;
    const known = videoWidth > 0 && this.#content !== 'example';
    this.#root.style.setProperty('--aspect', known ? String(videoWidth / videoHeight) : String(16 / 9));
    this.#root.style.setProperty('--actual-width', `${(videoWidth || 1280) / devicePixelRatio}px`);
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

  /** The source begins again with its first picture: an old one would stand still beside the result. @param {CompareMode} mode */
  #choose(mode) {
    const before = this.showsSource;
    this.#mode = mode;
    if (this.showsSource !== before) {
      this.#hasSource = false;
      if (this.#source !== undefined) {
        if (this.showsSource) play(this.#original, this.#source);
        else this.#original.srcObject = null;
      }
      this.onShowsSource.emit(this.showsSource);
    }
    this.#update();
  }

  /** It compares both pictures in one place. */
  #toggleLoupe() {
    if (!this.#loupe.active && (this.#mode === 'split' || this.#mode === 'result')) {
      this.#bar.setMode('wipe');
      this.#choose('wipe');
    }
    this.#loupeAwaited = !this.#loupe.active && !this.#hasSource;
    if (this.#loupeAwaited) return;
    this.#loupe.setActive(!this.#loupe.active);
    this.#update();
    if (this.#loupe.active) this.#range.focus({ preventScroll: true });
  }
}

/** @param {string} name @param {number} width @param {number} height */
function named(name, width, height) {
  return width > 0 && height > 0 ? `${name} ${formatSize(width, height)}` : name;
}

function video() {
  const element = h('video', { playsinline: true, muted: true, autoplay: true, disableremoteplayback: true });
  element.muted = true;
  return element;
}

/** @param {HTMLVideoElement} element @param {MediaStream} stream */
function play(element, stream) {
  if (element.srcObject !== stream) element.srcObject = stream;
  // A browser that saves data or battery may refuse even muted playback; the next click on the page starts it.
  element.play().catch(() => {
    addEventListener('pointerdown', () => void element.play().catch(() => {}), { once: true });
  });
}
