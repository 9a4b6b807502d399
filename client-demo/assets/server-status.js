/** @import {ModelSummary} from '../../server/signaling/protocol.ts' */
/** @import {SignalingClient, SignalingState} from './signaling-client.js' */
import { h, setText } from './dom.js';
import { formatDevice, formatKind, formatModel } from './format.js';

/** The head of the page: which model works here, and whether the server is reached. */
export class ServerStatus {
  #model;
  #connection;
  #text;
  /** @type {SignalingState} */
  #state = { kind: 'idle' };

  /** @param {HTMLElement} root @param {SignalingClient} signaling */
  constructor(root, signaling) {
    this.#model = h('span', { class: 'model' });
    this.#text = h('span', {}, 'Connecting');
    this.#connection = h('span', { class: 'connection', role: 'status' }, h('span', { class: 'dot' }), this.#text);
    root.append(this.#model, this.#connection);
    signaling.onState.add((state) => this.#show(state));
    setInterval(() => this.#show(this.#state), 1000);
  }

  /** @param {ModelSummary} model */
  showModel({ kind: runs, label, device, superResolution, scale }) {
    const kind = h(
      'span',
      { class: superResolution ? 'chip chip-accent' : 'chip' },
      superResolution ? 'Super-resolution' : 'Plain resize',
    );
    this.#model.replaceChildren(
      h('span', { class: 'model-name' }, formatModel(label, scale)),
      h(
        'span',
        { class: 'muted' },
        superResolution ? `${formatKind(runs)}, ${formatDevice(device)}` : formatDevice(device),
      ),
      kind,
    );
  }

  /** @param {SignalingState} state */
  #show(state) {
    if (state !== this.#state && state.kind === 'open') this.showModel(state.welcome.model);
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
