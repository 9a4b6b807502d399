/** @import {CaptureKind} from './errors.js' */
import { LiveError, captureError, insecureContextError } from './errors.js';
import { Listeners } from './listeners.js';

/**
 * @typedef {object} CaptureRequest
 * @property {CaptureKind} kind
 * @property {number} height lines that will be sent; cameras are asked for no more than they need
 * @property {boolean} audio
 * @property {File} [file]
 * @property {string} [deviceId] of the camera
 * @property {string} [microphoneId]
 */

/** Something that delivers pictures: a camera, a screen, or a file that plays in a loop. */
export class Capture {
  /** @type {MediaStream} */
  stream;
  kind;
  label;
  /** The source dried up: unplugged, or sharing was stopped in the browser's own bar. @type {Listeners<LiveError>} */
  onEnded = new Listeners();
  /** A track replaces the one of its kind: a player starts over, a camera returns from its pause. @type {Listeners<MediaStreamTrack>} */
  onTrack = new Listeners();
  #release;
  #muted = false;
  #closed = false;

  /**
   * @param {CaptureKind} kind
   * @param {string} label
   * @param {MediaStream} stream
   * @param {() => void} [release]
   */
  constructor(kind, label, stream, release = () => {}) {
    this.kind = kind;
    this.label = label;
    this.stream = stream;
    this.#release = release;
    for (const track of stream.getTracks()) this.#watch(track);
    stream.addEventListener('addtrack', ({ track }) => {
      this.#watch(track);
      this.onTrack.emit(track);
    });
  }

  get videoTrack() {
    const tracks = this.stream.getVideoTracks();
    return tracks.find((track) => track.readyState === 'live') ?? tracks[0];
  }

  get audioTrack() {
    const tracks = this.stream.getAudioTracks();
    return tracks.find((track) => track.readyState === 'live') ?? tracks[0];
  }

  get muted() {
    return this.#muted;
  }

  /** Cameras deliver what they are asked for; everything else has its own size. @param {number} height */
  async setHeight(height) {
    if (this.kind !== 'camera') return;
    await this.videoTrack?.applyConstraints(cameraSize(height)).catch(() => {});
  }

  /** A muted track sends silence, so that sound and picture keep their common clock. @param {boolean} muted */
  setMuted(muted) {
    this.#muted = muted;
    for (const track of this.stream.getAudioTracks()) track.enabled = !muted;
  }

  /** Lets the camera go, light included; other sources keep their track for the return. */
  pauseVideo() {
    if (this.kind !== 'camera') return;
    for (const track of this.stream.getVideoTracks()) track.stop();
  }

  /** @param {number} height @returns {Promise<MediaStreamTrack | undefined>} @throws {LiveError} */
  async resumeVideo(height) {
    const before = this.videoTrack;
    if (this.kind !== 'camera' || before === undefined) return before;
    const { deviceId } = before.getSettings();
    try {
      const again = await userMedia(cameraConstraints(height, deviceId), false);
      const [track] = again.getVideoTracks();
      if (track === undefined) return undefined;
      if (this.#closed) track.stop();
      this.stream.removeTrack(before);
      this.stream.addTrack(track);
      this.#watch(track);
      return track;
    } catch (thrown) {
      throw captureError(thrown, 'camera');
    }
  }

  close() {
    this.#closed = true;
    for (const track of this.stream.getTracks()) track.stop();
    this.#release();
    this.#release = () => {};
  }

  /** @param {MediaStreamTrack} track */
  #watch(track) {
    if (track.kind === 'audio') track.enabled = !this.#muted;
    track.addEventListener('ended', () => {
      if (this.kind !== 'camera' && this.kind !== 'screen') return;
      if (track.kind === 'audio' && this.videoTrack?.readyState === 'live') return;
      const message = this.kind === 'screen' ? 'Screen sharing was stopped.' : 'The camera was disconnected.';
      const remedy = 'Start again when it is back.';
      this.onEnded.emit(new LiveError({ code: 'capture.ended', message, remedy, retryable: false }));
    });
  }
}

/**
 * @param {CaptureRequest} request
 * @returns {Promise<Capture>}
 * @throws {LiveError}
 */
export async function openCapture(request) {
  switch (request.kind) {
    case 'camera':
      return openCamera(request);
    case 'screen':
      return openScreen(request);
    case 'sample':
      return openPlayer('sample', 'Sample clip', '/sample.mp4', () => {});
    case 'file': {
      if (request.file === undefined) {
        const remedy = 'Any video that this browser plays will do.';
        throw new LiveError({ code: 'capture.file', message: 'Choose a video file first.', remedy, retryable: false });
      }
      const url = URL.createObjectURL(request.file);
      return openPlayer('file', request.file.name, url, () => URL.revokeObjectURL(url));
    }
  }
}

/**
 * Opens a source while another one runs. Phones open one camera at a time: then the first is let go before.
 * @param {CaptureRequest} request
 * @param {Capture} before
 * @returns {Promise<Capture>}
 * @throws {LiveError}
 */
export async function openBeside(request, before) {
  try {
    return await openCapture(request);
  } catch (thrown) {
    const busy = thrown instanceof LiveError && thrown.code === 'capture.camera' && isBusy(thrown.cause);
    if (!busy || before.kind !== 'camera') throw thrown;
    before.pauseVideo();
    return openCapture(request);
  }
}

/** @param {unknown} cause */
function isBusy(cause) {
  return cause instanceof DOMException && (cause.name === 'NotReadableError' || cause.name === 'AbortError');
}

/** @param {CaptureRequest} request */
async function openCamera({ height, audio, deviceId, microphoneId }) {
  if (navigator.mediaDevices === undefined) throw insecureContextError();
  const sound = audio && (microphoneId === undefined || { deviceId: { exact: microphoneId } });
  try {
    const stream = await userMedia(cameraConstraints(height, deviceId), sound);
    return new Capture('camera', stream.getVideoTracks()[0]?.label ?? 'Camera', stream);
  } catch (thrown) {
    throw captureError(thrown, 'camera');
  }
}

/** @param {number} height @param {string | undefined} deviceId @returns {MediaTrackConstraints} */
function cameraConstraints(height, deviceId) {
  const which = deviceId === undefined ? { facingMode: 'user' } : { deviceId: { exact: deviceId } };
  return { ...cameraSize(height), ...which };
}

/** @param {number} height @returns {MediaTrackConstraints} */
function cameraSize(height) {
  return {
    height: { ideal: height },
    width: { ideal: Math.round((height * 16) / 9) },
    frameRate: { ideal: 30, max: 30 },
  };
}

/**
 * A camera without a microphone is still worth watching.
 * @param {MediaTrackConstraints} video
 * @param {boolean | MediaTrackConstraints} audio
 */
async function userMedia(video, audio) {
  try {
    return await navigator.mediaDevices.getUserMedia({ video, audio });
  } catch (thrown) {
    const name = thrown instanceof DOMException ? thrown.name : '';
    if (audio === false || name !== 'NotFoundError') throw thrown;
    return navigator.mediaDevices.getUserMedia({ video, audio: false });
  }
}

/** @param {CaptureRequest} request */
async function openScreen({ audio }) {
  if (navigator.mediaDevices === undefined) throw insecureContextError();
  if (navigator.mediaDevices.getDisplayMedia === undefined) {
    const message = 'This browser cannot share a screen.';
    const remedy = 'Phones usually cannot; choose the camera, a file or the sample clip.';
    throw new LiveError({ code: 'capture.screen', message, remedy, retryable: false });
  }
  try {
    const stream = await navigator.mediaDevices.getDisplayMedia({
      video: { frameRate: { ideal: 30, max: 30 } },
      audio,
    });
    return new Capture('screen', 'Screen', stream);
  } catch (thrown) {
    throw captureError(thrown, 'screen');
  }
}

/**
 * Plays a video in a loop and captures what it shows. The element stays out of the page: it is no picture for people.
 * @param {'file' | 'sample'} kind
 * @param {string} label
 * @param {string} url
 * @param {() => void} release
 */
async function openPlayer(kind, label, url, release) {
  const player = document.createElement('video');
  player.loop = true;
  player.muted = true;
  player.playsInline = true;
  player.preload = 'auto';
  player.src = url;
  const stop = () => {
    player.pause();
    player.removeAttribute('src');
    player.load();
    release();
  };
  try {
    await player.play();
  } catch (cause) {
    stop();
    const message = kind === 'sample' ? 'The sample clip cannot be played.' : `${label} cannot be played.`;
    const remedy = 'Choose a video file that this browser can play, for example MP4 with H.264.';
    throw new LiveError({ code: 'capture.file', message, remedy, retryable: false, cause });
  }
  const element =
    /** @type {HTMLVideoElement & {captureStream?: () => MediaStream, mozCaptureStream?: () => MediaStream}} */ (
      player
    );
  const stream = element.captureStream?.() ?? element.mozCaptureStream?.() ?? drawn(player);
  if (stream.getVideoTracks().length === 0) await firstVideoTrack(stream);
  return new Capture(kind, label, stream, stop);
}

/** @param {MediaStream} stream */
function firstVideoTrack(stream) {
  return new Promise((resolve, reject) => {
    stream.addEventListener('addtrack', ({ track }) => {
      if (track.kind === 'video') resolve(undefined);
    });
    const message = 'This file has no picture.';
    const error = new LiveError({ code: 'capture.file', message, remedy: 'Choose a video file.', retryable: false });
    setTimeout(() => reject(error), 3000);
  });
}

/** Safari's media elements cannot be captured: draw them (without sound). @param {HTMLVideoElement} player */
function drawn(player) {
  const canvas = document.createElement('canvas');
  const context = canvas.getContext('2d');
  const draw = () => {
    if (canvas.width !== player.videoWidth) canvas.width = player.videoWidth;
    if (canvas.height !== player.videoHeight) canvas.height = player.videoHeight;
    context?.drawImage(player, 0, 0);
    player.requestVideoFrameCallback(draw);
  };
  player.requestVideoFrameCallback(draw);
  return canvas.captureStream();
}
