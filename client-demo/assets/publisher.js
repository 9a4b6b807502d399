/** @import {BroadcastStats} from '../../server/signaling/protocol.ts' */
/** @import {Capture} from './capture.js' */
/** @import {LinkState} from './peer-link.js' */
/** @import {Uplink} from './rtp-rates.js' */
/** @import {TabStore} from './settings.js' */
/** @import {SignalingClient} from './signaling-client.js' */
import { Listeners } from './listeners.js';
import { PeerLink } from './peer-link.js';
import { RtpRates } from './rtp-rates.js';
import { scaleDownFactor } from './settings.js';

/** @typedef {{height: number, maxBitrateBps: number}} Quality */

/** Sends one capture under one name, small: at most `height` lines and `maxBitrateBps`. */
export class Publisher {
  #capture;
  #name;
  /** @type {Quality} */
  #quality;
  #link;
  /** @type {RTCRtpSender | undefined} */
  #videoSender;
  #rates = new RtpRates();
  #appliedFactor = 0;
  #timer;

  /** @type {Listeners<Uplink>} */
  onUplink = new Listeners();

  /**
   * @param {object} options
   * @param {SignalingClient} options.signaling
   * @param {TabStore} options.store keeps the resume token of this tab
   * @param {Capture} options.capture
   * @param {string} options.name
   * @param {Quality} options.quality
   */
  constructor({ signaling, store, capture, name, quality }) {
    this.#capture = capture;
    this.#name = name;
    this.#quality = quality;
    this.#link = new PeerLink(signaling, {
      failFast: true,
      setup: (pc) => this.#addTracks(pc),
      request: async (sdp) => {
        const resumeToken = store.resumeToken(name);
        const reply = await signaling.request({ type: 'publish', name, sdp, resumeToken });
        store.keepResumeToken(name, reply.resumeToken);
        return reply;
      },
    });
    this.#link.onState.add(({ kind }) => {
      if (kind === 'connected') void this.#applyQuality();
    });
    capture.onTrack.add((track) => {
      if (track.kind === 'video') void this.#videoSender?.replaceTrack(track);
    });
    this.#timer = setInterval(() => void this.#everySecond(), 1000);
  }

  get name() {
    return this.#name;
  }

  /** @returns {LinkState} */
  get state() {
    return this.#link.state;
  }

  get onState() {
    return this.#link.onState;
  }

  /** The server's view, once a second. @type {Listeners<{broadcast: BroadcastStats}>} */
  get onStats() {
    return this.#link.onStats;
  }

  start() {
    this.#link.start();
  }

  /** @param {Quality} quality */
  async setQuality(quality) {
    const resized = quality.height !== this.#quality.height;
    this.#quality = quality;
    if (resized) await this.#capture.setHeight(quality.height);
    await this.#applyQuality();
  }

  close() {
    clearInterval(this.#timer);
    this.#link.close();
    this.#capture.close();
  }

  /** @param {RTCPeerConnection} pc */
  #addTracks(pc) {
    const { videoTrack, audioTrack, stream } = this.#capture;
    if (videoTrack === undefined) return;
    this.#appliedFactor = this.#factor();
    const encoding = { maxBitrate: this.#quality.maxBitrateBps, scaleResolutionDownBy: this.#appliedFactor };
    if (this.#capture.kind === 'screen') videoTrack.contentHint = 'detail';
    const { sender } = pc.addTransceiver(videoTrack, {
      direction: 'sendonly',
      streams: [stream],
      sendEncodings: [encoding],
    });
    this.#videoSender = sender;
    if (audioTrack !== undefined) pc.addTransceiver(audioTrack, { direction: 'sendonly', streams: [stream] });
  }

  #factor() {
    const { videoTrack } = this.#capture;
    return scaleDownFactor(videoTrack?.getSettings().height ?? 0, this.#quality.height);
  }

  async #applyQuality() {
    const sender = this.#videoSender;
    if (sender === undefined || this.#link.pc?.signalingState !== 'stable') return;
    const parameters = sender.getParameters();
    const [encoding] = parameters.encodings;
    if (encoding === undefined) return;
    this.#appliedFactor = this.#factor();
    encoding.maxBitrate = this.#quality.maxBitrateBps;
    encoding.scaleResolutionDownBy = this.#appliedFactor;
    // An encoder short of bits should show fewer frames rather than a smaller picture: small is already the point.
    /** @type {any} */ (parameters).degradationPreference = 'maintain-resolution';
    await sender.setParameters(parameters).catch(() => {});
  }

  async #everySecond() {
    const { pc } = this.#link;
    if (pc === undefined || this.#link.state.kind !== 'connected') return;
    // A shared window was resized, a phone turned, a player went on to another size.
    if (Math.abs(this.#factor() - this.#appliedFactor) > 1e-6) await this.#applyQuality();
    const report = await pc.getStats();
    this.onUplink.emit(this.#rates.uplink(report.values()));
  }
}
