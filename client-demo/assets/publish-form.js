/** @import {CaptureKind} from './errors.js' */
/** @import {PublishSettings} from './settings.js' */
import { listCameras } from './capture.js';
import { byId, h, setText } from './dom.js';
import { formatBitrate } from './format.js';
import { Listeners } from './listeners.js';
import { BITRATE_CAPS_BPS } from './settings.js';

/** The form: what to send, how large, how fast, under which name. While live only size and rate may change. */
export class PublishForm {
  #form = byId('publish-form', HTMLFormElement);
  #title = byId('form-title', HTMLElement);
  #bitrate = byId('bitrate', HTMLInputElement);
  #bitrateText = byId('bitrate-text', HTMLElement);
  #audio = byId('audio', HTMLInputElement);
  #name = byId('name', HTMLInputElement);
  #nameHint = byId('name-hint', HTMLElement);
  #file = byId('file', HTMLInputElement);
  #device = byId('device', HTMLSelectElement);
  #start = byId('start', HTMLButtonElement);
  #nameHintText = this.#nameHint.textContent ?? '';
  /** @type {'idle' | 'starting' | 'live'} */
  #phase = 'idle';

  /** @type {Listeners<void>} */
  onStart = new Listeners();
  /** @type {Listeners<void>} */
  onStop = new Listeners();
  /** @type {Listeners<PublishSettings>} */
  onChange = new Listeners();

  /** @param {PublishSettings} settings */
  constructor(settings) {
    this.#check('kind', settings.kind);
    this.#check('height', String(settings.height));
    const index = BITRATE_CAPS_BPS.findIndex((cap) => cap >= settings.maxBitrateBps);
    this.#bitrate.max = String(BITRATE_CAPS_BPS.length - 1);
    this.#bitrate.value = String(index < 0 ? BITRATE_CAPS_BPS.length - 1 : index);
    this.#audio.checked = settings.audio;
    this.#name.value = settings.name;
    this.#form.addEventListener('input', () => {
      this.#update();
      this.onChange.emit(this.settings);
    });
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#phase !== 'idle') this.onStop.emit();
      else if (this.#nameIsValid()) this.onStart.emit();
      else this.#name.focus();
    });
    this.#update();
    void this.refreshCameras();
  }

  /** @returns {PublishSettings} */
  get settings() {
    return {
      kind: /** @type {CaptureKind} */ (this.#chosen('kind')),
      height: Number(this.#chosen('height')) || 180,
      maxBitrateBps: BITRATE_CAPS_BPS[Number(this.#bitrate.value)] ?? 300_000,
      audio: this.#audio.checked,
      name: this.#name.value.trim(),
    };
  }

  get file() {
    return this.#file.files?.[0];
  }

  get deviceId() {
    return this.#device.value === '' ? undefined : this.#device.value;
  }

  /** @param {'idle' | 'starting' | 'live'} phase */
  setPhase(phase) {
    this.#phase = phase;
    this.#update();
  }

  /** Marks the name as the thing to change. @param {string} text */
  setNameError(text) {
    this.#name.setAttribute('aria-invalid', 'true');
    setText(this.#nameHint, text);
    this.#name.focus();
  }

  /** @param {string} kind */
  choose(kind) {
    this.#check('kind', kind);
    this.#update();
  }

  async refreshCameras() {
    const cameras = await listCameras().catch(() => []);
    const chosen = this.#device.value;
    this.#device.replaceChildren(...cameras.map(({ deviceId, label }) => h('option', { value: deviceId }, label)));
    if (cameras.some(({ deviceId }) => deviceId === chosen)) this.#device.value = chosen;
    this.#update();
  }

  #update() {
    const { kind, maxBitrateBps } = this.settings;
    const idle = this.#phase === 'idle';
    byId('file-field', HTMLElement).hidden = kind !== 'file' || !idle;
    byId('device-field', HTMLElement).hidden = kind !== 'camera' || !idle || this.#device.options.length < 2;
    byId('kind-field', HTMLElement).hidden = !idle;
    // The clip has 180 lines, and nothing is scaled up before it is sent.
    byId('height-field', HTMLElement).hidden = kind === 'sample';
    byId('name-field', HTMLElement).hidden = !idle;
    byId('audio-field', HTMLElement).hidden = !idle || kind === 'sample';
    setText(this.#bitrateText, formatBitrate(maxBitrateBps));
    this.#bitrate.setAttribute('aria-valuetext', formatBitrate(maxBitrateBps));
    setText(this.#title, idle ? 'Go live' : 'What you send');
    setText(this.#start, { idle: 'Go live', starting: 'Cancel', live: 'Stop' }[this.#phase]);
    this.#start.classList.toggle('stop', !idle);
    if (this.#name.validity.valid) {
      this.#name.removeAttribute('aria-invalid');
      setText(this.#nameHint, this.#nameHintText);
    }
  }

  #nameIsValid() {
    if (this.#name.validity.valid) return true;
    this.setNameError(
      this.#name.value === ''
        ? 'A name is needed.'
        : 'Only letters, digits, dot, dash and underscore; one slash for room/name.',
    );
    return false;
  }

  /** @param {string} group @param {string} value */
  #check(group, value) {
    for (const input of this.#radios(group)) input.checked = input.value === value;
  }

  /** @param {string} group */
  #chosen(group) {
    return this.#radios(group).find((input) => input.checked)?.value ?? '';
  }

  /** @param {string} group @returns {HTMLInputElement[]} */
  #radios(group) {
    return [...this.#form.querySelectorAll(`input[name="${group}"]`)].map(
      (input) => /** @type {HTMLInputElement} */ (input),
    );
  }
}
