/** @import {BroadcastStats} from '../../server/signaling/protocol.ts' */
/** @import {Capture} from './capture.js' */
/** @import {LinkState} from './peer-link.js' */
/** @import {Uplink} from './rtp-rates.js' */
/** @import {PageStore} from './settings.js' */
/** @import {SignalingClient} from './signaling-client.js' */
import { AutoSend, encodableCodecs, measuredCodec, offeredCodecs } from './auto-send.js';
import { scaleDownBy, upscalersOf } from './choose-send.js';
import { Listeners } from './listeners.js';
import { PeerLink } from './peer-link.js';
import { RtpRates } from './rtp-rates.js';
import { LOW_DATA_BPS, scaleDownFactor } from './settings.js';

/** @typedef {{auto: boolean, height: number, maxBitrateBps: number}} Quality */

/** Sound of a person who saves data, bit/s. */
const LOW_DATA_AUDIO_BPS = 16_000;
/** A line must carry this again before sound gets more: it would come and go with every estimate. */
const LOW_DATA_END_BPS = 200_000;

/** Sends one capture under one name: at most `height` lines and `maxBitrateBps`, with `auto` as much of it as the line carries. */
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
  #store;
  #signaling;
  /** @type {AutoSend | undefined} */
  #auto;
  /** Chosen by AutoSend for the present connection. @type {string | undefined} */
  #sentCodec;
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
    this.#store = store;
    this.#signaling = signaling;
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
      if (kind !== 'connected') return;
      void this.#applyQuality();
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

  get onBroadcastState() {
    return this.#link.onBroadcastState;
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
    if (this.#auto?.lineBps !== undefined) this.#store.keepLine(this.#auto.lineBps);
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
  async #addTracks(pc) {
    if (this.#quality.auto) {
      // Begun within a connection, it knew that one's codec alone.
      if (this.#auto === undefined || this.#sentCodec === undefined) {
        const codecs = await this.#possibleCodecs();
        this.#auto = new AutoSend(codecs, this.#auto?.lineBps ?? this.#store.lineBps);
      }
      this.#sentCodec = this.#auto.begin(performance.now(), this.#circumstances).codec;
    }
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
    const codec = this.#codec ?? this.#sentCodec;
    if (codec !== undefined) preferCodec(video, codec);
    this.#audioSender = pc.addTransceiver(audioTrack ?? 'audio', { direction: 'sendonly', streams: [stream] }).sender;
  }

  /** The codec that the address of the page asks for, if this browser offers it. */
  async #possibleCodecs() {
    const asked = measuredCodec(this.#codec ?? '');
    return asked !== undefined && offeredCodecs().includes(asked) ? [asked] : encodableCodecs();
  }

  /** What AutoSend needs to know besides the line. */
  get #circumstances() {
    const { state } = this.#signaling;
    const { width = 0, height = 0 } = this.#capture.videoTrack?.getSettings() ?? {};
    return {
      upscalers: state.kind === 'open' ? upscalersOf(state.welcome.model) : {},
      content: /** @type {'camera' | 'screen'} */ (this.#capture.kind === 'screen' ? 'screen' : 'camera'),
      maxBitrateBps: this.#quality.maxBitrateBps,
      sourceShortSide: Math.min(width, height),
    };
  }

  #factor() {
    const { videoTrack } = this.#capture;
    const choice = this.#quality.auto ? this.#auto?.choice : undefined;
    if (choice !== undefined) {
      const { width = 0, height = 0 } = videoTrack?.getSettings() ?? {};
      return scaleDownBy({ width, height }, choice.shortSide);
    }
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
    if (this.#quality.auto && this.#auto?.choice !== undefined)
      encoding.maxFramerate = this.#auto.choice.framesPerSecond;
    else delete encoding.maxFramerate;
    // An encoder short of bits should show fewer frames rather than a smaller picture: small is already the point.
    /** @type {any} */ (parameters).degradationPreference = 'maintain-resolution';
    await sender.setParameters(parameters).catch(() => {});
    await this.#applyAudioQuality();
  }

  /** On a line of 60 kbit/s, ordinary sound would be half of it. */
  async #applyAudioQuality() {
    const parameters = this.#audioSender?.getParameters();
    const encoding = parameters?.encodings?.[0];
    if (parameters === undefined || encoding === undefined) return;
    const line = this.#quality.auto ? (this.#auto?.lineBps ?? Infinity) : Infinity;
    const wasLow = encoding.maxBitrate === LOW_DATA_AUDIO_BPS;
    const low = this.#quality.maxBitrateBps <= LOW_DATA_BPS || line <= (wasLow ? LOW_DATA_END_BPS : LOW_DATA_BPS);
    if (low === wasLow) return;
    if (low) encoding.maxBitrate = LOW_DATA_AUDIO_BPS;
    else delete encoding.maxBitrate;
    await this.#audioSender?.setParameters(parameters).catch(() => {});
  }

  async #everySecond() {
    const { pc } = this.#link;
    if (pc === undefined || this.#link.state.kind !== 'connected') return;
    // A shared window was resized, a phone turned, a player went on to another size.
    if (Math.abs(this.#factor() - this.#appliedFactor) > 1e-6) await this.#applyQuality();
    const report = await pc.getStats();
    const uplink = this.#rates.uplink(report.values());
    this.onUplink.emit(uplink);
    if (this.#quality.auto && !this.#videoPaused) await this.#followLine(uplink);
  }

  /** @param {Uplink} uplink */
  async #followLine(uplink) {
    const now = performance.now();
    if (this.#auto === undefined) {
      // The size was the person's choice until now. The codec stays the connection's.
      const codec = measuredCodec(uplink.codec);
      if (codec === undefined) return;
      this.#auto = new AutoSend([codec], this.#store.lineBps);
      this.#auto.begin(now, this.#circumstances);
      return this.#applyQuality();
    }
    const before = this.#auto.choice;
    const choice = this.#auto.update(now, uplink, this.#circumstances);
    // The line may become low data with the size and codec that it had.
    await this.#applyAudioQuality();
    if (choice === undefined || choice === before) return;
    // A codec that the address of the page asks for stays, too.
    const chosen = this.#codec === undefined && this.#sentCodec !== undefined;
    if (chosen && choice.codec !== this.#sentCodec) this.#link.renew();
    else await this.#applyQuality();
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
