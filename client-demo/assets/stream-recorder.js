/** What a browser can write, best first: H264 in MP4 plays everywhere; VP8 costs the least where H264 is missing. */
const TYPES = [
  'video/mp4;codecs="avc1.640028,mp4a.40.2"',
  'video/webm;codecs="vp8,opus"',
  'video/webm',
  'video/mp4',
  '',
];
/** A browser keeps what is not saved yet in memory or on its own disk: long recordings become several files. */
const MAX_PART_BYTES = 1024 ** 3;
const BITS_PER_PIXEL = 0.12;
const LEAST_BPS = 2_500_000;

/**
 * @typedef {object} Part
 * @property {MediaRecorder} recorder
 * @property {unknown} stream of the player: another one after every reconnection
 * @property {boolean} sound
 * @property {number} width
 * @property {number} height
 * @property {Blob[]} chunks
 * @property {number} bytes
 */
/**
 * @typedef {object} RecorderOptions
 * @property {HTMLVideoElement} video shows what is recorded
 * @property {() => boolean} hasSound a sound track without sound would hold up the file
 * @property {(file: Blob, number: number) => void} save
 * @property {(why: RecorderNews) => void} onNews
 */
/** Why another file follows, or none: another size, another stream after a loss, a full file, sound that has come, an error. */
/** @typedef {{kind: 'size', width: number, height: number} | {kind: 'gap' | 'long' | 'sound'} | {kind: 'failed', text: string}} RecorderNews */

/** Whether this browser can record at all (Safari before 14.1 cannot). */
export function canRecord() {
  return typeof MediaRecorder === 'function' && typeof MediaStream === 'function';
}

/**
 * Records the stream of a player. One file holds one size and one stream: what changes either (the small rendition on a thin line, a
 * publisher who changes the size, a reconnection) ends the file and begins the next one, because few players and editors take a file
 * that changes within.
 */
export class StreamRecorder {
  #options;
  #wanted = false;
  #number = 0;
  /** @type {Part | undefined} */
  #part;
  #follow = () => this.#onPicture();

  /** @param {RecorderOptions} options */
  constructor(options) {
    this.#options = options;
  }

  get recording() {
    return this.#wanted;
  }

  start() {
    if (this.#wanted) return;
    this.#wanted = true;
    this.#number = 0;
    for (const type of ['resize', 'loadeddata']) this.#options.video.addEventListener(type, this.#follow);
    this.#begin();
  }

  stop() {
    if (!this.#wanted) return;
    this.#wanted = false;
    for (const type of ['resize', 'loadeddata']) this.#options.video.removeEventListener(type, this.#follow);
    this.#end();
  }

  #begin() {
    const { video, hasSound } = this.#options;
    const { srcObject: stream, videoWidth: width, videoHeight: height } = video;
    if (!(stream instanceof MediaStream) || width === 0) return;
    const sound = hasSound();
    const tracks = [...stream.getVideoTracks(), ...(sound ? stream.getAudioTracks() : [])];
    const live = tracks.filter((track) => track.readyState === 'live');
    if (!live.some((track) => track.kind === 'video')) return;
    const videoBitsPerSecond = Math.max(LEAST_BPS, Math.round(width * height * 30 * BITS_PER_PIXEL));
    const mimeType = TYPES.find((type) => type === '' || MediaRecorder.isTypeSupported(type)) ?? '';
    try {
      const recorder = new MediaRecorder(new MediaStream(live), { mimeType, videoBitsPerSecond });
      /** @type {Part} */
      const part = { recorder, stream, sound, width, height, chunks: [], bytes: 0 };
      recorder.ondataavailable = ({ data }) => this.#take(part, data);
      recorder.onstop = () => this.#finish(part);
      recorder.onerror = (event) => this.#fail(/** @type {{error?: Error}} */ (/** @type {unknown} */ (event)).error);
      recorder.start(1000);
      this.#part = part;
    } catch (thrown) {
      this.#fail(thrown);
    }
  }

  /** What was recorded so far is saved. */
  #end() {
    const part = this.#part;
    this.#part = undefined;
    if (part !== undefined && part.recorder.state !== 'inactive') part.recorder.stop();
  }

  /** @param {RecorderNews} news */
  #next(news) {
    this.#end();
    this.#begin();
    this.#options.onNews(news);
  }

  #onPicture() {
    const { srcObject, videoWidth: width, videoHeight: height } = this.#options.video;
    const part = this.#part;
    if (width === 0) return;
    if (part === undefined || part.stream !== srcObject) this.#next({ kind: 'gap' });
    else if (part.width !== width || part.height !== height) this.#next({ kind: 'size', width, height });
  }

  /** @param {Part} part @param {Blob} data */
  #take(part, data) {
    part.chunks.push(data);
    part.bytes += data.size;
    if (part !== this.#part) return;
    if (part.bytes > MAX_PART_BYTES) this.#next({ kind: 'long' });
    else if (!part.sound && this.#options.hasSound()) this.#next({ kind: 'sound' });
  }

  /** Ended by us, or by the browser because its tracks have ended. @param {Part} part */
  #finish(part) {
    if (part === this.#part) this.#part = undefined;
    if (part.bytes === 0) return;
    // Numbered here: a size that did not last leaves no file, and no number is left out.
    this.#number += 1;
    this.#options.save(new Blob(part.chunks, { type: part.recorder.mimeType }), this.#number);
  }

  /** @param {unknown} thrown */
  #fail(thrown) {
    this.stop();
    this.#options.onNews({ kind: 'failed', text: thrown instanceof Error ? thrown.message : '' });
  }
}

/**
 * `stage-2026-11-30-18.05.12.webm`, further files `-2`, `-3`: a name that every file system takes.
 * @param {string} name of the broadcast
 * @param {Date} date local time
 * @param {number} number
 * @param {string} type MIME type
 */
export function recordingName(name, date, number, type) {
  /** @param {number} value */
  const two = (value) => String(value).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  const time = [date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join('.');
  const endings = { mp4: 'mp4', 'x-matroska': 'mkv' };
  const subtype = /^video\/([\w-]+)/.exec(type)?.[1] ?? '';
  const ending = endings[/** @type {'mp4'} */ (subtype)] ?? 'webm';
  return `${name.replaceAll('/', '-')}-${day}-${time}${number > 1 ? `-${number}` : ''}.${ending}`;
}
