/** @import {BroadcastStats} from '../../server/signaling/protocol.ts' */
/** @import {Capture} from './capture.js' */
/** @import {LinkState} from './peer-link.js' */
/** @import {Uplink} from './rtp-rates.js' */
/** @import {PageStore} from './settings.js' */
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
  /** @type {RTCRtpSender | undefined} */
  #audioSender;
  #codec;
  #videoPaused = false;
  #detach = () => {};
  #rates = new RtpRates();
  #appliedFactor = 0;
  #timer;

  /** @type {Listeners<Uplink>} */
  onUplink = new Listeners();

  /**
   * @param {object} options
   * @param {SignalingClient} options.signaling
   * @param {PageStore} options.store keeps the resume token of this tab
   * @param {Capture} options.capture
   * @param {string} options.name
   * @param {Quality} options.quality
   * @param {string} [options.codec] to send if this browser encodes it, such as AV1; the browser's own choice otherwise
   */
  constructor({ signaling, store, capture, name, quality, codec }) {
    this.#codec = codec;
    this.#capture = capture;
    this.#name = name;
    this.#quality = quality;
    this.#link = new PeerLink(signaling, {
      failFast: true,
      setup: (pc) => this.#addTracks(pc),
      request: async (sdp) => {
        const resumeToken = store.resumeToken(name) ?? store.streamKey(name);
        const reply = await signaling.request({ type: 'publish', name, sdp, resumeToken });
        store.keepResumeToken(name, reply.resumeToken);
        return reply;
      },
    });
    this.#link.onState.add(({ kind }) => {
      if (kind === 'connected') void this.#applyQuality();
    });
    this.#follow(capture);
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

  get videoPaused() {
    return this.#videoPaused;
  }

  /** Other pictures and sound for the same broadcast, without a new offer. @param {Capture} capture */
  async replaceCapture(capture) {
    const before = this.#capture;
    this.#capture = capture;
    this.#follow(capture);
    capture.setMuted(before.muted);
    this.#videoPaused = false;
    before.close();
    await this.#videoSender?.replaceTrack(capture.videoTrack ?? null);
    await this.#audioSender?.replaceTrack(capture.audioTrack ?? null);
    await this.#applyQuality();
  }

  /** Viewers read that no video arrives; sound goes on. */
  async pauseVideo() {
    this.#videoPaused = true;
    await this.#videoSender?.replaceTrack(null);
    this.#capture.pauseVideo();
  }

  /** @throws {LiveError} the camera does not return; the broadcast stays paused */
  async resumeVideo() {
    const track = await this.#capture.resumeVideo(this.#quality.height);
    this.#videoPaused = false;
    await this.#videoSender?.replaceTrack(track ?? null);
    await this.#applyQuality();
  }

  close() {
    clearInterval(this.#timer);
    this.#detach();
    this.#link.close();
    this.#capture.close();
  }

  /** @param {Capture} capture */
  #follow(capture) {
    this.#detach();
    this.#detach = capture.onTrack.add((track) => {
      const sender = track.kind === 'video' ? this.#videoSender : this.#audioSender;
      if (track.kind === 'audio' || !this.#videoPaused) void sender?.replaceTrack(track);
    });
  }

  /**
   * Sound has its place in the offer even when there is none yet: a source with sound may follow while live.
   * @param {RTCPeerConnection} pc
   */
  #addTracks(pc) {
    const { videoTrack, audioTrack, stream } = this.#capture;
    this.#appliedFactor = this.#factor();
    const encoding = { maxBitrate: this.#quality.maxBitrateBps, scaleResolutionDownBy: this.#appliedFactor };
    const paused = this.#videoPaused || videoTrack === undefined;
    const video = pc.addTransceiver(paused ? 'video' : videoTrack, {
      direction: 'sendonly',
      streams: [stream],
      sendEncodings: [encoding],
    });
    this.#videoSender = video.sender;
    if (this.#codec !== undefined) preferCodec(video, this.#codec);
    this.#audioSender = pc.addTransceiver(audioTrack ?? 'audio', { direction: 'sendonly', streams: [stream] }).sender;
  }

  #factor() {
    const { videoTrack } = this.#capture;
    return scaleDownFactor(videoTrack?.getSettings().height ?? 0, this.#quality.height);
  }

  async #applyQuality() {
    if (this.#capture.kind === 'screen' && this.#capture.videoTrack !== undefined) {
      this.#capture.videoTrack.contentHint = 'detail';
    }
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

/** The server takes a browser's first codec. @param {RTCRtpTransceiver} transceiver @param {string} name as in its MIME type */
function preferCodec(transceiver, name) {
  const codecs = RTCRtpSender.getCapabilities('video')?.codecs ?? [];
  const mimeType = `video/${name}`.toLowerCase();
  const first = codecs.filter((codec) => codec.mimeType.toLowerCase() === mimeType);
  if (first.length === 0 || transceiver.setCodecPreferences === undefined) return;
  transceiver.setCodecPreferences([...first, ...codecs.filter((codec) => !first.includes(codec))]);
}
