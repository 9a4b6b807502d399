/** @import {SendChoice, SendCodec, UpscalerName} from './choose-send.js' */
/** @import {Uplink} from './rtp-rates.js' */
import { chooseSend, videoBitrateBps } from './choose-send.js';
import { DroppedPictures } from './dropped-pictures.js';
import { LineFollower } from './follow-line.js';

/** Bit rate assumed for a line that was never measured, bit/s. */
const FIRST_BPS = 300_000;
/** The estimate of a new connection is what the server proposed; from then on it is measured. */
const SETTLED_MS = 3000;
/** A new codec is a new connection: at most this often. */
const CODEC_STAYS_MS = 60_000;
/** The choice on thinner lines is the same. */
const LEAST_VIDEO_BPS = 20_000;
/** More loss than this is a line that is too full, whatever the estimate says. */
const OVERFULL_LOSS = 0.1;
/** An encoder that says so for this long is too slow for this machine. */
const SLOW_MS = 6000;
/** All that were measured. */
const CODECS = /** @type {const} */ (['AV1', 'VP9', 'H264', 'VP8']);
/** In the order in which a machine can do without them. */
const COSTLY = /** @type {const} */ (['AV1', 'VP9']);

/**
 * @typedef {object} Circumstances
 * @property {Readonly<Record<number, UpscalerName>>} upscalers
 * @property {'camera' | 'screen'} content
 * @property {number} maxBitrateBps
 * @property {number} sourceShortSide 0: not known yet
 */

/** Chooses size, codec and frame rate from the measured line (choose-send.js), and follows it. Time is an argument. */
export class AutoSend {
  #follower = new LineFollower();
  #dropped = new DroppedPictures();
  /** @type {SendCodec[]} */
  #codecs;
  /** What the line carried last time. */
  #lineBps;
  /** What of it sound took last time. */
  #soundBps = 0;
  #connectedAtMs = 0;
  #slowSinceMs = Infinity;
  /** @type {SendChoice | undefined} */
  #choice;

  /** @param {SendCodec[]} codecs that this browser encodes @param {number | undefined} lineBps as it was when it was measured last */
  constructor(codecs, lineBps) {
    this.#codecs = codecs;
    this.#lineBps = lineBps;
  }

  /** What is sent now. */
  get choice() {
    return this.#choice;
  }

  /** A new connection. @param {number} nowMs @param {Circumstances} circumstances @returns {SendChoice} */
  begin(nowMs, circumstances) {
    this.#connectedAtMs = nowMs;
    this.#slowSinceMs = Infinity;
    this.#follower.reset();
    const request = this.#request(nowMs, this.#lineBps ?? FIRST_BPS, this.#codecs, circumstances);
    const { codec } = chooseSend(request);
    // The follower begins with it: one estimate does not undo it.
    this.#choice = this.#follower.update(nowMs, { ...request, codecs: [codec] });
    return this.#choice;
  }

  /**
   * Once a second while connected.
   * @param {number} nowMs @param {Uplink} uplink @param {Circumstances} circumstances
   * @returns {SendChoice | undefined} undefined before `begin`
   */
  update(nowMs, uplink, circumstances) {
    const { availableBps, lossRatio, bitrateBps, audioBps } = uplink;
    const now = this.#choice;
    if (now === undefined || availableBps === undefined) return now;
    this.#soundBps = audioBps;
    const sinceMs = nowMs - this.#connectedAtMs;
    const carriedBps = lossRatio > OVERFULL_LOSS ? Math.min(availableBps, bitrateBps * (1 - lossRatio)) : availableBps;
    const measured = sinceMs >= SETTLED_MS;
    if (measured) this.#lineBps = carriedBps;
    const lineBps = measured ? carriedBps : Math.min(carriedBps, this.#lineBps ?? FIRST_BPS);
    if (measured && circumstances.content === 'camera') this.#dropped.observe(nowMs, now, uplink, lineBps);
    const slow = this.#tooSlow(nowMs, uplink.limitation);
    const codecs = slow || sinceMs > CODEC_STAYS_MS ? this.#codecs : [now.codec];
    this.#choice = this.#follower.update(nowMs, this.#request(nowMs, lineBps, codecs, circumstances));
    return this.#choice;
  }

  /** The line's rate, measured; undefined before. */
  get lineBps() {
    return this.#lineBps;
  }

  /** Takes a codec that the machine is too slow for out of the choice. @param {number} nowMs @param {string} limitation */
  #tooSlow(nowMs, limitation) {
    if (limitation !== 'cpu') this.#slowSinceMs = Infinity;
    else if (this.#slowSinceMs === Infinity) this.#slowSinceMs = nowMs;
    if (nowMs - this.#slowSinceMs < SLOW_MS) return false;
    const costly = COSTLY.find((codec) => codec === this.#choice?.codec);
    const rest = this.#codecs.filter((codec) => codec !== costly);
    if (costly === undefined || rest.length === 0) return false;
    this.#codecs = rest;
    return true;
  }

  /** @param {number} nowMs @param {number} lineBps @param {SendCodec[]} codecs @param {Circumstances} circumstances */
  #request(nowMs, lineBps, codecs, { upscalers, content, sourceShortSide, maxBitrateBps }) {
    const videoBps = videoBitrateBps(lineBps, this.#soundBps, this.#choice?.framesPerSecond);
    const bitrateBps = Math.min(maxBitrateBps, Math.max(LEAST_VIDEO_BPS, videoBps));
    const limit = this.#dropped.limit(nowMs, this.#choice?.codec ?? '', lineBps);
    const largest = Math.min(sourceShortSide > 0 ? sourceShortSide : Infinity, limit - 1);
    return { bitrateBps, codecs, upscalers, content, ...(largest < Infinity && { sourceShortSide: largest }) };
  }
}

/** A codec that was measured, by its name as in a MIME type. @param {string} name @returns {SendCodec | undefined} */
export function measuredCodec(name) {
  return CODECS.find((codec) => codec.toLowerCase() === name.toLowerCase());
}

/** Measured codecs that this browser offers, however fast it encodes them. @returns {SendCodec[]} */
export function offeredCodecs() {
  const known = new Set(
    (RTCRtpSender.getCapabilities('video')?.codecs ?? []).map(({ mimeType }) => mimeType.toLowerCase()),
  );
  return CODECS.filter((codec) => known.has(`video/${codec}`.toLowerCase()));
}

/**
 * Codecs that this browser offers and encodes fluently at 1280x720. A browser that does not say is trusted with the light ones.
 * @returns {Promise<SendCodec[]>} at least one
 */
export async function encodableCodecs() {
  const offered = offeredCodecs();
  const fluent = await Promise.all(offered.map((codec) => isFluent(codec)));
  const codecs = offered.filter((_, index) => fluent[index]);
  return codecs.length > 0 ? codecs : ['VP8'];
}

/** @param {SendCodec} codec */
async function isFluent(codec) {
  const video = { contentType: `video/${codec}`, width: 1280, height: 720, bitrate: 800_000, framerate: 30 };
  try {
    const { supported, smooth } = await navigator.mediaCapabilities.encodingInfo({ type: 'webrtc', video });
    return supported && smooth;
  } catch {
    return codec === 'H264' || codec === 'VP8';
  }
}
