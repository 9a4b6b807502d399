/**
 * Shows source and result of the same moment together. The source comes straight through the server while the result takes
 * the upscaler's time longer, so the source waits in the browser's jitter buffer for as long. How long is measured: the
 * sender reports of both tracks carry the publisher's media time, so equal capture times (requestVideoFrameCallback,
 * W3C video-rvfc section 5.2) mean the same picture.
 */

/** Two seconds of 60 fps: the longest delay a picture can be followed over. */
const REMEMBERED_FRAMES = 240;
/** A third of a frame at 60 fps: the reports' clock is exact to about a millisecond. */
const SAME_PICTURE_MS = 5;
/** The specification (W3C webrtc-extensions, jitterBufferTarget) allows at most this. */
const MAX_TARGET_MS = 4000;

export class TrackSync {
  /** @type {RTCRtpReceiver & {jitterBufferTarget?: number | null}} */
  #receiver;
  /** @type {{captureMs: number, shownMs: number}[]} */
  #sourceFrames = [];
  /** @type {number[]} */
  #lagsMs = [];
  /** @type {number | undefined} */
  #lagMs;
  #targetMs = 0;
  #fallbackMs = 0;
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
    this.#follow(source, (captureMs, shownMs) => {
      this.#sourceFrames.push({ captureMs, shownMs });
      if (this.#sourceFrames.length > REMEMBERED_FRAMES) this.#sourceFrames.shift();
    });
    this.#follow(result, (captureMs, shownMs) => {
      const same = nearest(this.#sourceFrames, captureMs);
      if (same !== undefined) this.#lagsMs.push(shownMs - same.shownMs);
    });
    this.#timer = setInterval(() => this.#adjust(), 1000);
  }

  /** Result minus source over the last second; undefined while no picture was seen in both. */
  get lagMs() {
    return this.#lagMs;
  }

  /** What the server says it adds: the first guess, before pictures match. @param {number} addedMs */
  setServerLatency(addedMs) {
    this.#fallbackMs = addedMs;
  }

  close() {
    this.#closed = true;
    clearInterval(this.#timer);
  }

  #adjust() {
    this.#lagMs = median(this.#lagsMs);
    this.#lagsMs = [];
    // Within a frame is together; the buffer moves slowly, so only part of the rest is asked for at a time.
    if (this.#lagMs === undefined) this.#targetMs = Math.max(this.#targetMs, this.#fallbackMs);
    else if (Math.abs(this.#lagMs) > 20) this.#targetMs += this.#lagMs * 0.6;
    this.#targetMs = Math.min(MAX_TARGET_MS, Math.max(0, this.#targetMs));
    try {
      this.#receiver.jitterBufferTarget = this.#targetMs > 0 ? this.#targetMs : null;
    } catch {
      // Known by name but not settable here: both play as they come.
    }
  }

  /** @param {HTMLVideoElement} video @param {(captureMs: number, shownMs: number) => void} each */
  #follow(video, each) {
    /** @param {number} _now @param {VideoFrameCallbackMetadata} metadata */
    const next = (_now, metadata) => {
      if (this.#closed) return;
      if (metadata.captureTime !== undefined) each(metadata.captureTime, metadata.expectedDisplayTime);
      video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
  }
}

/**
 * The frame captured at the same time, give or take.
 * @param {{captureMs: number, shownMs: number}[]} frames
 * @param {number} captureMs
 */
export function nearest(frames, captureMs) {
  /** @type {{captureMs: number, shownMs: number} | undefined} */
  let best;
  for (const frame of frames) {
    const distance = Math.abs(frame.captureMs - captureMs);
    if (distance <= SAME_PICTURE_MS && distance < Math.abs((best?.captureMs ?? Infinity) - captureMs)) best = frame;
  }
  return best;
}

/** @param {number[]} values */
export function median(values) {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];
}
