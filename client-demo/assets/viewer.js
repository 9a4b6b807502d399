/** @import {BroadcastStats, SessionState, ViewerSessionStats} from '../../server/signaling/protocol.ts' */
/** @import {Downlink} from './rtp-rates.js' */
/** @import {SignalingClient} from './signaling-client.js' */
import { Listeners } from './listeners.js';
import { PeerLink } from './peer-link.js';
import { RtpRates } from './rtp-rates.js';

/**
 * @typedef {{result: boolean, source: boolean}} Shown which pictures the page shows
 */

/**
 * @typedef {object} Tracks
 * @property {MediaStream} result the server's picture, and the sound
 * @property {MediaStream} source the picture as it was sent; silent while it is not shown
 * @property {RTCRtpReceiver} resultReceiver
 * @property {RTCRtpReceiver} sourceReceiver
 */

/** Watches one broadcast: the result, the sound and, while it is shown, the source beside it. Waits for a publisher to come. */
export class Viewer {
  #link;
  #shown;
  /** What the server knows of the present session. */
  #asked;
  #signaling;
  #rates = new RtpRates();
  /** @type {Tracks | undefined} */
  #tracks;
  #timer;

  /** New streams to show, after every (re)connection. @type {Listeners<Tracks>} */
  onTracks = new Listeners();
  /** @type {Listeners<Downlink>} */
  onDownlink = new Listeners();

  /**
   * @param {object} options
   * @param {SignalingClient} options.signaling
   * @param {string} options.name
   * @param {Shown} options.shown the server sends nothing else
   */
  constructor({ signaling, name, shown }) {
    this.#signaling = signaling;
    this.#shown = shown;
    this.#asked = shown;
    this.#link = new PeerLink(signaling, {
      failFast: false,
      setup: (pc) => this.#addTracks(pc),
      request: (sdp) => {
        this.#asked = this.#shown;
        return signaling.request({ type: 'watch', name, sdp, show: this.#asked });
      },
    });
    this.#link.onState.add(({ kind }) => {
      if (kind === 'connecting' && this.#tracks !== undefined) this.onTracks.emit(this.#tracks);
      this.#ask();
    });
    this.#timer = setInterval(() => void this.#everySecond(), 1000);
  }

  get state() {
    return this.#link.state;
  }

  get onState() {
    return this.#link.onState;
  }

  /** @type {Listeners<{state: SessionState, reason: string}>} */
  get onBroadcastState() {
    return this.#link.onBroadcastState;
  }

  /** @type {Listeners<{broadcast: BroadcastStats, viewer?: ViewerSessionStats}>} */
  get onStats() {
    return this.#link.onStats;
  }

  /** The tracks of the present connection. */
  get tracks() {
    return this.#tracks;
  }

  /** Pictures that the page does not show are not sent. @param {Shown} shown */
  show(shown) {
    this.#shown = shown;
    this.#ask();
  }

  start() {
    this.#link.start();
  }

  close() {
    clearInterval(this.#timer);
    this.#link.close();
  }

  /** m-lines as server/rtc/peers.ts asks: result, source, audio. @param {RTCPeerConnection} pc */
  #addTracks(pc) {
    const result = pc.addTransceiver('video', { direction: 'recvonly' });
    preferH264(result);
    const source = pc.addTransceiver('video', { direction: 'recvonly' });
    const audio = pc.addTransceiver('audio', { direction: 'recvonly' });
    this.#tracks = {
      result: new MediaStream([result.receiver.track, audio.receiver.track]),
      source: new MediaStream([source.receiver.track]),
      resultReceiver: result.receiver,
      sourceReceiver: source.receiver,
    };
  }

  #ask() {
    const { state } = this.#link;
    const { result, source } = this.#shown;
    if (!('session' in state) || (result === this.#asked.result && source === this.#asked.source)) return;
    this.#asked = this.#shown;
    // A session that has ended meanwhile is replaced by one that asks for the same.
    this.#signaling.request({ type: 'show', session: state.session, result, source }).catch(() => {});
  }

  async #everySecond() {
    const { pc } = this.#link;
    if (pc === undefined || this.#link.state.kind !== 'connected') return;
    const report = await pc.getStats();
    const trackId = this.#tracks?.resultReceiver.track.id;
    this.onDownlink.emit(this.#rates.downlink(report.values(), trackId));
  }
}

/**
 * The server encodes once per codec, H264 in a third of the time of VP8, and phones decode it in hardware. Browsers that
 * lack it keep their own order.
 * @param {RTCRtpTransceiver} transceiver
 */
function preferH264(transceiver) {
  const codecs = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
  const first = codecs.filter((codec) => codec.mimeType === 'video/H264');
  if (first.length === 0 || transceiver.setCodecPreferences === undefined) return;
  transceiver.setCodecPreferences([...first, ...codecs.filter((codec) => !first.includes(codec))]);
}
