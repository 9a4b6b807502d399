/** @import {CaptureKind} from './errors.js' */
/** @import {Uplink} from './rtp-rates.js' */
/** @import {PublishSettings} from './settings.js' */
import { DevicePicker, Devices } from './devices.js';
import { SEND_STOPS_BPS } from './choose-send.js';
import { byId, setText } from './dom.js';
import { formatBitrate, formatFps, formatSize } from './format.js';
import { Listeners } from './listeners.js';
import { AUTO_HEIGHT, LOW_DATA_BPS } from './settings.js';

/** @typedef {'idle' | 'starting' | 'preview' | 'live'} FormPhase */

/** Sound of each kind of source, by the name that people know it by. */
const SOUND = { camera: 'Microphone', screen: 'Sound of the screen', file: 'Sound of the file', sample: '' };

/** The form: what to send, how large, how fast, under which name. All but the name may change while live. */
export class PublishForm {
  #form = byId('publish-form', HTMLFormElement);
  #title = byId('form-title', HTMLElement);
  #source = byId('source', HTMLDetailsElement);
  #bitrate = byId('bitrate', HTMLInputElement);
  #bitrateText = byId('bitrate-text', HTMLElement);
  #audio = byId('audio', HTMLInputElement);
  #sendBack = byId('send-back', HTMLInputElement);
  /** The person's own choice; undefined: by the line. @type {boolean | undefined} */
  #sendBackChoice;
  #name = byId('name', HTMLInputElement);
  #nameHint = byId('name-hint', HTMLElement);
  #file = byId('file', HTMLInputElement);
  #start = byId('start', HTMLButtonElement);
  #preview = byId('preview', HTMLButtonElement);
  #nameHintText = this.#nameHint.textContent ?? '';
  #devices = new Devices();
  #camera = new DevicePicker(byId('camera-field', HTMLElement), this.#devices, 'videoinput');
  #microphone = new DevicePicker(byId('microphone-field', HTMLElement), this.#devices, 'audioinput');
  /** @type {FormPhase} */
  #phase = 'idle';

  /** @type {Listeners<void>} */
  onStart = new Listeners();
  /** @type {Listeners<void>} */
  onStop = new Listeners();
  /** @type {Listeners<void>} */
  onPreview = new Listeners();
  /** @type {Listeners<PublishSettings>} */
  onChange = new Listeners();
  /** Another source, camera, microphone or file. @type {Listeners<void>} */
  onSource = new Listeners();

  /** @param {PublishSettings} settings */
  constructor(settings) {
    this.#check('kind', settings.kind);
    this.#check('height', settings.auto ? 'auto' : String(settings.height));
    const index = SEND_STOPS_BPS.findIndex((stop) => stop >= settings.maxBitrateBps);
    this.#bitrate.max = String(SEND_STOPS_BPS.length - 1);
    this.#bitrate.value = String(index < 0 ? SEND_STOPS_BPS.length - 1 : index);
    this.#audio.checked = settings.audio;
    this.#sendBackChoice = settings.sendBack;
    this.#sendBack.addEventListener('input', () => {
      this.#sendBackChoice = this.#sendBack.checked;
    });
    this.#name.value = settings.name;
    this.#form.addEventListener('input', () => {
      this.#update();
      this.onChange.emit(this.settings);
    });
    for (const input of [...this.#radios('kind'), this.#audio, this.#file]) {
      input.addEventListener('change', () => this.onSource.emit());
    }
    for (const picker of [this.#camera, this.#microphone]) picker.onChoice.add(() => this.onSource.emit());
    this.#form.addEventListener('submit', (event) => {
      event.preventDefault();
      if (this.#phase === 'live' || this.#phase === 'starting') this.onStop.emit();
      else if (this.#nameIsValid()) this.onStart.emit();
      else this.#name.focus();
    });
    this.#preview.addEventListener('click', () => this.onPreview.emit());
    this.#update();
    void this.#devices.refresh();
  }

  /** @returns {PublishSettings} */
  get settings() {
    const auto = this.#chosen('height') === 'auto';
    return {
      kind: /** @type {CaptureKind} */ (this.#chosen('kind')),
      auto,
      height: auto ? AUTO_HEIGHT : Number(this.#chosen('height')) || 180,
      maxBitrateBps: SEND_STOPS_BPS[Number(this.#bitrate.value)] ?? 300_000,
      ...(this.#sendBackChoice !== undefined && { sendBack: this.#sendBackChoice }),
      audio: this.#audio.checked,
      name: this.#name.value.trim(),
    };
  }

  /** What openCapture needs. */
  get request() {
    const file = this.#file.files?.[0];
    const { deviceId } = this.#camera;
    const microphoneId = this.#microphone.deviceId;
    return {
      ...this.settings,
      ...(file && { file }),
      ...(deviceId && { deviceId }),
      ...(microphoneId && { microphoneId }),
    };
  }

  /** @param {FormPhase} phase */
  setPhase(phase) {
    const focused = this.#form.contains(document.activeElement);
    if (phase !== this.#phase) this.#source.open = phase !== 'live';
    this.#phase = phase;
    this.#update();
    // The field that had the focus may be hidden now: the button goes on from there.
    const { activeElement, body } = document;
    if (focused && (activeElement === body || activeElement?.checkVisibility() === false)) {
      this.#start.focus({ preventScroll: true });
    }
  }

  /** Marks the name as the thing to change. @param {string} text */
  setNameError(text) {
    this.#name.setAttribute('aria-invalid', 'true');
    setText(this.#nameHint, text);
    this.#name.focus();
  }

  /** @param {string} name */
  setName(name) {
    this.#name.value = name;
    this.#update();
  }

  /** @param {string} kind */
  choose(kind) {
    this.#check('kind', kind);
    this.#update();
  }

  /** What the rule says while the person has not chosen. @param {boolean} back */
  showSendBack(back) {
    this.#sendBack.checked = back;
  }

  /** What the line lets through, where the size follows it. @param {Uplink | undefined} uplink */
  showSent(uplink) {
    const known = uplink !== undefined && uplink.width > 0 && this.settings.auto;
    const { width = 0, height = 0, fps = 0, codec = '' } = uplink ?? {};
    setText(
      byId('auto-text', HTMLElement),
      known ? `Now ${formatSize(width, height)}, ${formatFps(fps)}, ${codec}.` : '',
    );
  }

  /** Shows where a capture really came from. @param {MediaStream} stream */
  async showDevices(stream) {
    await this.#devices.refresh();
    this.#camera.show(stream.getVideoTracks()[0]?.getSettings().deviceId);
    this.#microphone.show(stream.getAudioTracks()[0]?.getSettings().deviceId);
  }

  #update() {
    const { kind, maxBitrateBps, audio, sendBack } = this.settings;
    if (sendBack !== undefined) this.#sendBack.checked = sendBack;
    const before = this.#phase === 'idle' || this.#phase === 'preview';
    const changeable = this.#phase !== 'starting';
    this.#source.hidden = !changeable;
    byId('source-summary', HTMLElement).hidden = this.#phase !== 'live';
    byId('file-field', HTMLElement).hidden = kind !== 'file';
    this.#camera.setAllowed(kind === 'camera');
    this.#microphone.setAllowed(kind === 'camera' && audio);
    // The clip has 180 lines, and nothing is scaled up before it is sent.
    byId('height-field', HTMLElement).hidden = kind === 'sample';
    byId('name-field', HTMLElement).hidden = !before;
    byId('audio-field', HTMLElement).hidden = kind === 'sample';
    setText(byId('audio-name', HTMLElement), SOUND[kind]);
    const limit = `${maxBitrateBps <= LOW_DATA_BPS ? 'low data, ' : ''}at most ${formatBitrate(maxBitrateBps)}`;
    setText(this.#bitrateText, limit);
    this.#bitrate.setAttribute('aria-valuetext', limit);
    setText(this.#title, before ? 'Go live' : 'Your stream');
    setText(this.#start, { idle: 'Go live', preview: 'Go live', starting: 'Cancel', live: 'Stop' }[this.#phase]);
    this.#start.classList.toggle('stop', !before);
    this.#preview.hidden = !before || kind === 'sample';
    setText(this.#preview, this.#phase === 'preview' ? 'End preview' : 'Preview');
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
