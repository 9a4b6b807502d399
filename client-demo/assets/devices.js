import { h } from './dom.js';
import { Listeners } from './listeners.js';

/** @typedef {'videoinput' | 'audioinput'} DeviceKind */

/** Cameras and microphones by name. Browsers give the names only after the person has allowed one of the kind. */
export class Devices {
  /** @type {readonly MediaDeviceInfo[]} */
  #known = [];

  /** @type {Listeners<void>} */
  onChange = new Listeners();

  constructor() {
    navigator.mediaDevices?.addEventListener('devicechange', () => void this.refresh());
  }

  /** @param {DeviceKind} kind */
  of(kind) {
    return this.#known.filter((device) => device.kind === kind && device.label !== '');
  }

  async refresh() {
    this.#known = (await navigator.mediaDevices?.enumerateDevices().catch(() => [])) ?? [];
    this.onChange.emit();
  }
}

/** A list of one kind of device; hidden while there is nothing to choose. */
export class DevicePicker {
  #field;
  #select;
  #devices;
  #kind;
  #wanted = '';
  #allowed = true;

  /** The person chose another device. @type {Listeners<void>} */
  onChoice = new Listeners();

  /** @param {HTMLElement} field with a select in it @param {Devices} devices @param {DeviceKind} kind */
  constructor(field, devices, kind) {
    this.#field = field;
    this.#select = /** @type {HTMLSelectElement} */ (field.querySelector('select'));
    this.#devices = devices;
    this.#kind = kind;
    devices.onChange.add(() => this.#render());
    this.#select.addEventListener('change', () => {
      this.#wanted = this.#select.value;
      this.onChoice.emit();
    });
  }

  /** @returns {string | undefined} */
  get deviceId() {
    return this.#wanted === '' ? undefined : this.#wanted;
  }

  /** The device that a capture came from, which the browser may have chosen. @param {string | undefined} deviceId */
  show(deviceId) {
    if (deviceId === undefined) return;
    this.#wanted = deviceId;
    this.#render();
  }

  /** Whether the chosen source has such a device at all. @param {boolean} allowed */
  setAllowed(allowed) {
    this.#allowed = allowed;
    this.#render();
  }

  #render() {
    const list = this.#devices.of(this.#kind);
    this.#field.hidden = !this.#allowed || list.length < 2;
    this.#select.replaceChildren(...list.map(({ deviceId, label }) => h('option', { value: deviceId }, label)));
    if (list.some(({ deviceId }) => deviceId === this.#wanted)) this.#select.value = this.#wanted;
    else this.#wanted = '';
  }
}
