/** @import {CompareMode} from './compare-view.js' */
import { h, setText } from './dom.js';
import { FullScreen } from './full-screen.js';
import { icon, setIcon } from './icons.js';
import { Listeners } from './listeners.js';
import { PlayerKeys } from './player-keys.js';
import { saveSnapshot } from './snapshot.js';

/** @type {{mode: CompareMode, label: string, icon: string}[]} */
const MODES = [
  { mode: 'wipe', label: 'Slider', icon: 'wipe' },
  { mode: 'split', label: 'Side by side', icon: 'split' },
  { mode: 'result', label: 'Result', icon: 'result' },
  { mode: 'original', label: 'Original', icon: 'camera' },
];

/** The controls below the picture, and over it in full screen: the same elements, so that focus stays where it is. */
export class PlayerBar {
  #player;
  #videos;
  #mode;
  #fullScreen;
  /** @type {Map<CompareMode, HTMLInputElement>} */
  #modeInputs = new Map();
  #sound;
  #volume;
  #play;
  #loupe;
  #actual;
  #snapshot;
  #picture;
  #soundPresent = false;
  #live = false;
  #covered = false;
  #hasSource = false;

  /** @type {Listeners<CompareMode>} */
  onMode = new Listeners();
  /** @type {Listeners<void>} */
  onLoupe = new Listeners();
  /** @type {Listeners<boolean>} */
  onActualSize = new Listeners();
  /** The person turned sound on or off. @type {Listeners<boolean>} */
  onSound = new Listeners();

  /**
   * @param {HTMLElement} player
   * @param {{original: HTMLVideoElement, result: HTMLVideoElement}} videos
   * @param {CompareMode} mode
   * @param {{captions: () => [string, string]}} options
   */
  constructor(player, videos, mode, { captions }) {
    this.#player = player;
    this.#videos = videos;
    this.#mode = mode;
    const modes = this.#modeControl();
    this.#play = button('pause', 'Pause the picture', () => this.#togglePlay());
    this.#sound = button('muted', 'Unmute', () => this.setSound(videos.result.muted));
    this.#sound.classList.add('sound-button');
    this.#sound.append(h('span', {}, 'Unmute'));
    this.#volume = h('input', { type: 'range', class: 'volume', min: '0', max: '1', step: '0.05', value: '1' });
    this.#volume.setAttribute('aria-label', 'Volume');
    this.#volume.addEventListener('input', () => this.#setVolume(Number(this.#volume.value)));
    this.#loupe = button('loupe', 'Loupe: magnify both pictures', () => this.onLoupe.emit());
    this.#actual = button('actual', 'Actual size, 1:1', () => this.#toggleActual());
    this.#snapshot = button('snapshot', 'Save a picture of the comparison', () => {
      void saveSnapshot(videos, this.#mode, captions());
    });
    this.#picture = button('window', 'Picture in picture', () => void this.#togglePicture());
    this.#picture.hidden = document.pictureInPictureEnabled !== true;
    const full = button('full', 'Full screen', () => this.#fullScreen.toggle());
    this.#fullScreen = new FullScreen(player, videos.result, full);
    for (const toggle of [this.#loupe, this.#actual]) toggle.setAttribute('aria-pressed', 'false');
    const actions = [this.#loupe, this.#actual, this.#snapshot, this.#picture, full];
    const sound = h('div', { class: 'stage-sound' }, this.#play, this.#sound, this.#volume);
    player.append(h('div', { class: 'stage-bar' }, modes, sound, h('div', { class: 'stage-actions' }, ...actions)));
    this.setSoundPresent(false);
    videos.result.addEventListener('pause', () => this.#showPlay());
    videos.result.addEventListener('play', () => this.#showPlay());
    new PlayerKeys(player, {
      enabled: () => this.#live,
      fullScreen: () => full.hidden || this.#fullScreen.toggle(),
      mute: () => this.#sound.hidden || this.setSound(videos.result.muted),
      play: () => this.#togglePlay(),
      picture: () => void this.#togglePicture(),
      volume: (step) => this.#sound.hidden || this.#setVolume(this.#loudness() + step),
    });
  }

  /** @param {{live: boolean, hasSource: boolean, loupe: boolean}} content */
  setContent({ live, hasSource, loupe }) {
    this.#live = live;
    this.#hasSource = hasSource;
    this.#loupe.setAttribute('aria-pressed', String(loupe));
    this.#enable();
  }

  /** A message covers the picture: nothing can be compared. @param {boolean} covered */
  setCovered(covered) {
    this.#covered = covered;
    this.#enable();
  }

  /** @param {CompareMode} mode */
  setMode(mode) {
    this.#mode = mode;
    for (const [each, input] of this.#modeInputs) input.checked = each === mode;
  }

  get videos() {
    return this.#videos;
  }

  /** The broadcast has sound. */
  get soundPresent() {
    return this.#soundPresent;
  }

  /** A further control, before those of the window. @param {HTMLButtonElement} control */
  add(control) {
    this.#picture.before(control);
  }

  /** A line under the picture. @param {HTMLElement} note */
  addNote(note) {
    this.#player.querySelector('.stage-bar')?.before(note);
  }

  /** @param {boolean} present */
  setSoundPresent(present) {
    this.#soundPresent = present;
    this.#sound.hidden = !present;
    this.#volume.hidden = !present || this.#videos.result.muted;
  }

  /** Browsers let a page start with sound only after a click, so every page starts muted. @param {boolean} on */
  setSound(on) {
    const { result } = this.#videos;
    if (result.muted === !on) return;
    result.muted = !on;
    if (on && result.volume === 0) result.volume = 1;
    this.#showSound();
    if (on) void result.play().catch(() => {});
    this.onSound.emit(on);
  }

  #enable() {
    const shown = this.#live && !this.#covered;
    for (const control of [this.#loupe, this.#snapshot]) control.disabled = !shown || !this.#hasSource;
    for (const control of [this.#actual, this.#picture, this.#play]) control.disabled = !shown;
    for (const [mode, input] of this.#modeInputs) {
      input.disabled = !shown || (!this.#hasSource && mode !== 'result');
    }
  }

  #modeControl() {
    const group = h('div', { class: 'segmented', role: 'radiogroup', 'aria-label': 'How to compare' });
    for (const { mode, label, icon: name } of MODES) {
      const input = h('input', { type: 'radio', name: 'compare-mode', value: mode, class: 'visually-hidden' });
      input.checked = mode === this.#mode;
      input.addEventListener('change', () => {
        this.#mode = mode;
        this.onMode.emit(mode);
      });
      this.#modeInputs.set(mode, input);
      group.append(h('label', { title: label }, input, icon(name), h('span', {}, label)));
    }
    return group;
  }

  #loudness() {
    const { muted, volume } = this.#videos.result;
    return muted ? 0 : volume;
  }

  /** @param {number} volume 0..1 */
  #setVolume(volume) {
    const { result } = this.#videos;
    result.volume = Math.min(1, Math.max(0, Math.round(volume * 20) / 20));
    this.setSound(result.volume > 0);
    this.#showSound();
  }

  #showSound() {
    const on = !this.#videos.result.muted;
    this.#volume.hidden = this.#sound.hidden || !on;
    this.#sound.dataset['on'] = String(on);
    this.#volume.value = String(this.#loudness());
    this.#volume.setAttribute('aria-valuetext', `${Math.round(this.#loudness() * 100)} %`);
    setIcon(this.#sound, on ? 'sound' : 'muted');
    label(this.#sound, on ? 'Mute' : 'Unmute');
    setText(/** @type {Element} */ (this.#sound.querySelector('span')), on ? 'Mute' : 'Unmute');
  }

  #togglePlay() {
    const { original, result } = this.#videos;
    if (this.#play.disabled) return;
    const paused = result.paused;
    for (const element of [original, result]) {
      if (!paused) element.pause();
      else if (element.srcObject !== null) void element.play().catch(() => {});
    }
  }

  #showPlay() {
    const { paused } = this.#videos.result;
    setIcon(this.#play, paused ? 'play' : 'pause');
    label(this.#play, paused ? 'Resume the picture' : 'Pause the picture');
  }

  #toggleActual() {
    const on = this.#actual.getAttribute('aria-pressed') !== 'true';
    this.#actual.setAttribute('aria-pressed', String(on));
    this.onActualSize.emit(on);
  }

  async #togglePicture() {
    if (this.#picture.hidden || this.#picture.disabled) return;
    try {
      if (document.pictureInPictureElement === null) await this.#videos.result.requestPictureInPicture();
      else await document.exitPictureInPicture();
    } catch {
      // Refused by the browser or the person's settings: the picture stays in the page.
    }
  }
}

/** @param {string} name @param {string} text @param {() => void} run */
function button(name, text, run) {
  const element = h('button', { type: 'button', class: 'icon-button' }, icon(name));
  label(element, text);
  element.addEventListener('click', run);
  return element;
}

/** @param {Element} element @param {string} text */
function label(element, text) {
  element.setAttribute('aria-label', text);
  element.setAttribute('title', text);
}
