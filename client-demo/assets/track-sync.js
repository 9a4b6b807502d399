/** @import {ShownFrame} from './track-offset.js' */
import { findOffset, lagsMs, median } from './track-offset.js';

/** Two seconds of 60 fps: the longest delay a picture can be followed over. */
const REMEMBERED_FRAMES = 120;
/** The specification (W3C webrtc-extensions, jitterBufferTarget) allows at most this. */
const MAX_TARGET_MS = 4000;

/**
 * Shows source and result of the same moment together. The source comes straight through the server while the result takes
 * the upscaler's time longer, so the source waits in the browser's jitter buffer for as long. How long is measured, picture
 * by picture, from their RTP timestamps.
 */
export class TrackSync {
  /** @type {RTCRtpReceiver & {jitterBufferTarget?: number | null}} */
  #receiver;
  /** @type {ShownFrame[]} */
  #source = [];
  /** Since the last adjustment. @type {ShownFrame[]} */
  #result = [];
  /** The server gives both tracks one RTP timestamp offset; should that ever not fit, it is looked for. @type {number | undefined} */
  #offset = 0;
  /** @type {number | undefined} */
  #lagMs;
  #targetMs = 0;
  #serverMs = 0;
  #misses = 0;
  #timer;
  #closed = false;

  /**
   * @param {HTMLVideoElement} source
   * @param {HTMLVideoElement} result
   * @param {RTCRtpReceiver} sourceReceiver
   */
  constructor(source, result, sourceReceiver) {
    this.#receiver = sourceReceiver;
    if (!('requestVideoFrameCallback' in HTMLVideoElement.prototype) || !('jitterBufferTarget' in sourceReceiver))
      return;
    this.#follow(source, this.#source);
    this.#follow(result, this.#result);
    this.#timer = setInterval(() => this.#adjust(), 1000);
  }

  /** Result minus source over the last second; undefined while no picture was seen in both. */
  get lagMs() {
    return this.#lagMs;
  }

  /** What the server says it adds: the first guess. @param {number} addedMs */
  setServerLatency(addedMs) {
    this.#serverMs = addedMs;
  }

  close() {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  #adjust() {
    this.#offset ??= findOffset(this.#source, this.#result, this.#serverMs - this.#targetMs);
    this.#lagMs = this.#offset === undefined ? undefined : median(lagsMs(this.#source, this.#result, this.#offset));
    this.#result.length = 0;
    if (this.#lagMs === undefined) {
      this.#misses += 1;
      // A paused page or a longer delay than remembered; from time to time look again from the beginning.
      if (this.#misses % 5 === 0) this.#offset = undefined;
      return;
    }
    this.#misses = 0;
    // Within a frame is together; the buffer moves slowly, so only part of the rest is asked for at a time.
    if (Math.abs(this.#lagMs) <= 20) return;
    this.#targetMs = Math.min(MAX_TARGET_MS, Math.max(0, this.#targetMs + this.#lagMs * 0.6));
    try {
      this.#receiver.jitterBufferTarget = this.#targetMs > 0 ? this.#targetMs : null;
    } catch {
      // Known by name but not settable here: both play as they come.
    }
  }

  /** @param {HTMLVideoElement} video @param {ShownFrame[]} frames */
  #follow(video, frames) {
    /** @param {number} _now @param {VideoFrameCallbackMetadata} metadata */
    const next = (_now, { rtpTimestamp, expectedDisplayTime }) => {
      if (this.#closed) return;
      if (rtpTimestamp !== undefined) frames.push({ rtp: rtpTimestamp, shownMs: expectedDisplayTime });
      if (frames.length > REMEMBERED_FRAMES) frames.shift();
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }
}
