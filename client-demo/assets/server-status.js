/** @import {BroadcastStats} from '../../server/signaling/protocol.ts' */
/** @import {SignalingClient, SignalingState} from './signaling-client.js' */
import { h, setText } from './dom.js';
import { formatDevice, formatKind, formatModel, isSuperResolution } from './format.js';

/** The head of the page: which model makes the picture that is shown, and whether the server is reached. */
export class ServerStatus {
  #model;
  #connection;
  #text;
  /** @type {SignalingState} */
  #state = { kind: 'idle' };
  #shown = '';

  /** @param {HTMLElement} root @param {SignalingClient} signaling */
  constructor(root, signaling) {
    this.#model = h('span', { class: 'model', hidden: true });
    this.#text = h('span', {}, 'Connecting');
    this.#connection = h('span', { class: 'connection', role: 'status' }, h('span', { class: 'dot' }), this.#text);
    root.append(this.#model, this.#connection);
    signaling.onState.add((state) => this.#show(state));
    setInterval(() => this.#show(this.#state), 1000);
  }

  /** What works now, which under load is not what was loaded. @param {BroadcastStats['model'] | undefined} model */
  showModel(model) {
    this.#model.hidden = model === undefined;
    if (model === undefined || JSON.stringify(model) === this.#shown) return;
    this.#shown = JSON.stringify(model);
    const { kind, label, device, scale, rung, rungLabel } = model;
    const sharp = isSuperResolution(model);
    const name = rung === 0 ? formatModel(label, scale) : rungLabel;
    const runs = sharp ? `${formatKind(kind)}, ${formatDevice(device)}` : formatDevice(device);
    const tone = rung > 0 ? 'chip chip-warning' : sharp ? 'chip chip-accent' : 'chip';
    this.#model.replaceChildren(
      h('span', { class: 'model-name' }, name),
      h('span', { class: 'muted' }, runs),
      h('span', { class: tone }, sharp ? 'Super-resolution' : 'Plain resize'),
    );
  }

  /** @param {SignalingState} state */
  #show(state) {
    if (state.kind !== 'open') this.showModel(undefined);
    this.#state = state;
    this.#connection.dataset['state'] = state.kind;
    setText(this.#text, describe(state));
  }
}

/** @param {SignalingState} state */
function describe(state) {
  switch (state.kind) {
    case 'open':
      return 'Connected';
    case 'waiting':
      return `Reconnecting in ${Math.max(1, Math.ceil((state.retryAtMs - Date.now()) / 1000))} s`;
    case 'refused':
      return 'Refused';
    case 'closed':
      return 'Closed';
    default:
      return 'Connecting';
  }
}
