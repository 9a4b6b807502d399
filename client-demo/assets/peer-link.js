/** @import {BroadcastStats, SessionState, ViewerSessionStats} from '../../server/signaling/protocol.ts' */
/** @import {SessionPush, SignalingClient, SignalingState} from './signaling-client.js' */
import { backoffMs } from './backoff.js';
import { LiveError, fromServer, toLiveError } from './errors.js';
import { Listeners } from './listeners.js';

/** Media comes back by itself after most short gaps (a phone changing cells); a longer one restarts ICE. */
const RESTART_AFTER_MS = 2_500;
const CONNECT_TIMEOUT_MS = 15_000;

/**
 * @typedef {object} PeerLinkHooks
 * @property {(pc: RTCPeerConnection) => void | Promise<void>} setup adds transceivers to a new connection
 * @property {(sdp: string) => Promise<{session: string, sdp: string, state?: SessionState}>} request publish or watch
 * @property {boolean} failFast before it was connected once, an error ends it instead of being tried again
 */

/**
 * @typedef {{kind: 'idle'}
 *   | {kind: 'offline'}
 *   | {kind: 'negotiating'}
 *   | {kind: 'connecting', session: string}
 *   | {kind: 'connected', session: string}
 *   | {kind: 'interrupted', session: string}
 *   | {kind: 'waiting', retryAtMs: number, error: LiveError}
 *   | {kind: 'failed', error: LiveError}
 *   | {kind: 'closed'}} LinkState
 */

/**
 * Keeps one WebRTC session with the server alive: negotiates when the WebSocket is open, looks for a new path when packets
 * stop (ICE restart), and begins a new session when that is not enough.
 */
export class PeerLink {
  #signaling;
  #hooks;
  /** @type {LinkState} */
  #state = { kind: 'idle' };
  /** @type {RTCPeerConnection | undefined} */
  #pc;
  #attempt = 0;
  #wasConnected = false;
  #restarted = false;
  /** @type {number | undefined} */
  #timer;
  #detach = () => {};
  #unsubscribe = () => {};

  /** @type {Listeners<LinkState>} */
  onState = new Listeners();
  /** State of the broadcast, as the server sees it. @type {Listeners<{state: SessionState, reason: string}>} */
  onBroadcastState = new Listeners();
  /** @type {Listeners<{broadcast: BroadcastStats, viewer?: ViewerSessionStats}>} */
  onStats = new Listeners();

  /** @param {SignalingClient} signaling @param {PeerLinkHooks} hooks */
  constructor(signaling, hooks) {
    this.#signaling = signaling;
    this.#hooks = hooks;
  }

  get state() {
    return this.#state;
  }

  /** The present connection, for getStats and parameters. */
  get pc() {
    return this.#pc;
  }

  start() {
    if (this.#state.kind !== 'idle') return;
    this.#unsubscribe = this.#signaling.onState.add((state) => this.#onSignaling(state));
    this.#onSignaling(this.#signaling.state);
  }

  /** A new connection in place of the present one, which the server lets it take over from. Nothing while there is none. */
  renew() {
    if (this.#state.kind !== 'connected') return;
    this.#teardown(false);
    void this.#negotiate();
  }

  /** Says goodbye if it can. */
  close() {
    if (this.#state.kind === 'closed') return;
    this.#teardown(true);
    this.#unsubscribe();
    this.#setState({ kind: 'closed' });
  }

  /** @param {SignalingState} signaling */
  #onSignaling(signaling) {
    if (this.#state.kind === 'failed' || this.#state.kind === 'closed') return;
    if (signaling.kind === 'open') void this.#negotiate();
    else if (signaling.kind === 'refused') {
      // Asking again changes nothing: no waiting for a connection that does not come.
      this.#teardown(false);
      this.#setState({ kind: 'failed', error: signaling.error });
    } else if (this.#state.kind !== 'offline') {
      // The server ends the sessions of a socket that closes.
      this.#teardown(false);
      this.#setState({ kind: 'offline' });
    }
  }

  async #negotiate() {
    if (this.#signaling.state.kind !== 'open') return;
    /** @type {LinkState} */
    const negotiating = { kind: 'negotiating' };
    this.#setState(negotiating);
    /** @type {RTCConfiguration} */
    let configuration;
    try {
      configuration = await this.#configuration();
    } catch (thrown) {
      if (this.#state === negotiating) this.#retry(toLiveError(thrown));
      return;
    }
    // Closed, offline or started again meanwhile.
    if (this.#state !== negotiating) return;
    const pc = new RTCPeerConnection(configuration);
    this.#pc = pc;
    /** Candidates found before the session has an id. @type {RTCIceCandidate[]} */
    const early = [];
    let session = '';
    /** @param {RTCIceCandidate} candidate */
    const send = ({ candidate, sdpMid, sdpMLineIndex }) =>
      this.#signaling
        .request({ type: 'candidate', session, candidate: { candidate, sdpMid, sdpMLineIndex } })
        .catch(() => {});
    pc.onicecandidate = ({ candidate }) => {
      if (candidate === null || pc !== this.#pc) return;
      if (session === '') early.push(candidate);
      else void send(candidate);
    };
    pc.onconnectionstatechange = () => {
      if (pc === this.#pc) this.#onConnection(pc, session);
    };
    try {
      await this.#hooks.setup(pc);
      await pc.setLocalDescription();
      const reply = await this.#hooks.request(pc.localDescription?.sdp ?? '');
      if (pc !== this.#pc) {
        // Closed or started again while the server was answering.
        this.#signaling.request({ type: 'leave', session: reply.session }).catch(() => {});
        return;
      }
      session = reply.session;
      this.#detach = this.#signaling.attach(session, (push) => this.#onPush(pc, push));
      this.#setState({ kind: 'connecting', session });
      if (reply.state !== undefined) this.onBroadcastState.emit({ state: reply.state, reason: '' });
      await pc.setRemoteDescription({ type: 'answer', sdp: reply.sdp });
      for (const candidate of early) void send(candidate);
      this.#deadline(pc, CONNECT_TIMEOUT_MS);
    } catch (thrown) {
      if (pc === this.#pc) this.#retry(toLiveError(thrown));
      else pc.close();
    }
  }

  /** @returns {Promise<RTCConfiguration>} */
  async #configuration() {
    const iceServers = await this.#signaling.iceServers();
    return { iceServers: iceServers.map((server) => ({ ...server })), bundlePolicy: 'max-bundle' };
  }

  /** @param {RTCPeerConnection} pc @param {string} session */
  #onConnection(pc, session) {
    switch (pc.connectionState) {
      case 'connected':
        clearTimeout(this.#timer);
        this.#attempt = 0;
        this.#wasConnected = true;
        this.#restarted = false;
        this.#setState({ kind: 'connected', session });
        break;
      case 'disconnected':
        clearTimeout(this.#timer);
        this.#setState({ kind: 'interrupted', session });
        this.#timer = setTimeout(() => void this.#restartIce(pc, session), RESTART_AFTER_MS);
        break;
      case 'failed':
        clearTimeout(this.#timer);
        if (this.#wasConnected && !this.#restarted) void this.#restartIce(pc, session);
        else this.#retry(noPath());
        break;
    }
  }

  /** @param {RTCPeerConnection} pc @param {string} session */
  async #restartIce(pc, session) {
    if (pc !== this.#pc) return;
    this.#restarted = true;
    this.#setState({ kind: 'interrupted', session });
    this.#deadline(pc, CONNECT_TIMEOUT_MS);
    try {
      pc.setConfiguration(await this.#configuration());
      pc.restartIce();
      await pc.setLocalDescription();
      const sdp = pc.localDescription?.sdp ?? '';
      const reply = await this.#signaling.request({ type: 'restart', session, sdp });
      if (pc === this.#pc) await pc.setRemoteDescription({ type: 'answer', sdp: reply.sdp });
    } catch {
      // Offline, or the server has forgotten the session: a new one is the way.
      if (pc === this.#pc) this.#retry(noPath());
    }
  }

  /** @param {RTCPeerConnection} pc @param {SessionPush} push */
  #onPush(pc, push) {
    if (pc !== this.#pc) return;
    if (push.type === 'candidate') void pc.addIceCandidate(push.candidate).catch(() => {});
    else if (push.type === 'stats') this.onStats.emit(push);
    else if (push.state === 'ended') {
      const ended = { code: 'page.ended', message: 'The server ended the session.', remedy: '', retryable: true };
      this.#retry(fromServer(push.error ?? ended));
    } else this.onBroadcastState.emit({ state: push.state, reason: push.reason });
  }

  /** @param {RTCPeerConnection} pc @param {number} ms */
  #deadline(pc, ms) {
    clearTimeout(this.#timer);
    if (pc.connectionState === 'connected') return;
    this.#timer = setTimeout(() => {
      if (pc === this.#pc && pc.connectionState !== 'connected') this.#retry(noPath());
    }, ms);
  }

  /** @param {LiveError} error */
  #retry(error) {
    this.#teardown(true);
    if (!error.retryable || (this.#hooks.failFast && !this.#wasConnected && error.code !== 'page.disconnected')) {
      this.#setState({ kind: 'failed', error });
      return;
    }
    if (this.#signaling.state.kind !== 'open') {
      this.#setState({ kind: 'offline' });
      return;
    }
    this.#attempt += 1;
    const waitMs = backoffMs(this.#attempt);
    this.#setState({ kind: 'waiting', retryAtMs: Date.now() + waitMs, error });
    this.#timer = setTimeout(() => void this.#negotiate(), waitMs);
  }

  /** @param {boolean} tellServer */
  #teardown(tellServer) {
    clearTimeout(this.#timer);
    this.#detach();
    this.#detach = () => {};
    const pc = this.#pc;
    this.#pc = undefined;
    if (tellServer && 'session' in this.#state) {
      // `leave` goes first: to a server that sees the media end before it, the connection was lost.
      const { session } = this.#state;
      const close = () => pc?.close();
      this.#signaling.request({ type: 'leave', session }).then(close, close);
    } else pc?.close();
  }

  /** @param {LinkState} state */
  #setState(state) {
    this.#state = state;
    this.onState.emit(state);
  }
}

function noPath() {
  return new LiveError({
    code: 'peer.connection',
    message: 'No media path to the server was found.',
    remedy: 'UDP between this device and the server must be open, or the server needs a TURN relay (ice.servers).',
    retryable: true,
  });
}
