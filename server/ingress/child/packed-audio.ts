/**
 * Packed audio of HLS (RFC 8216 section 3.4): AAC frames without a container, each segment behind an ID3 tag that says when it begins. The
 * tags are taken out of the bytes on their way to the demuxer; packets get their times by where in the bytes they lie.
 */

/** Owner of the tag's PRIV frame (section 3.4): eight bytes follow, 33 bits of 1/90000 s. */
const OWNER = Buffer.from('com.apple.streaming.transportStreamTimestamp\0', 'latin1');
const TICKS_PER_SECOND = 90_000;
const WRAP = 2 ** 33;
/** A first time this near the end counts from below 0, as libav counts those of the pictures beside it (MPEG-TS). */
const NEAR_WRAP = WRAP - 60 * TICKS_PER_SECOND;
const ID3 = 'ID3';
/** Of ID3v2 (id3v2.4.0-structure, section 3.1): identifier, version, flags, size. */
const HEADER_BYTES = 10;
const FOOTER_BYTES = 10;
const FOOTER_FLAG = 0x10;
/** A tag of more is cover art; the segment is passed on with it, and its time is that of the one before. */
const MAX_TAG_BYTES = 256 * 1024;
/** Segments that the demuxer may have in front of it or has not finished: its queue holds 4 MiB. */
const MAX_SEGMENTS = 1000;

const NOTHING = Buffer.alloc(0);

interface Start {
  /** Of the segment's first byte among those that the demuxer reads. */
  readonly position: number;
  /** By its tag; undefined: it goes on where the one before ends. */
  readonly seconds: number | undefined;
  /** What to add to the demuxer's times, once its first packet is known. */
  offset: number | undefined;
}

/** Where each segment of a stream begins, in bytes and in time. */
export class SegmentTimes {
  readonly #starts: Start[] = [];
  #position = 0;
  #lastTicks: number | undefined;

  /** The next bytes belong to another segment. @param ticks of its tag, 1/90000 s modulo 2^33 */
  begin(ticks: number | undefined): void {
    this.#starts.push({ position: this.#position, seconds: this.#unwrap(ticks), offset: undefined });
    if (this.#starts.length > MAX_SEGMENTS) this.#starts.shift();
  }

  /** So many bytes went to the demuxer. */
  count(bytes: number): void {
    this.#position += bytes;
  }

  /**
   * @param position of the packet in the demuxer's bytes; packets come in order
   * @param seconds by the demuxer, which counts from 0
   * @returns what to add
   */
  offsetAt(position: number, seconds: number): number {
    while ((this.#starts[1]?.position ?? Infinity) <= position) {
      const { offset } = this.#starts.shift() as Start;
      const next = this.#starts[0] as Start;
      if (next.seconds === undefined) next.offset ??= offset;
    }
    const [start] = this.#starts;
    if (start === undefined) return 0;
    start.offset ??= start.seconds === undefined ? 0 : start.seconds - seconds;
    return start.offset;
  }

  /** The times of segments that follow each other lie within half of the 26 hours after which they begin again. */
  #unwrap(ticks: number | undefined): number | undefined {
    if (ticks === undefined) return undefined;
    const last = this.#lastTicks ?? (ticks < NEAR_WRAP ? ticks : ticks - WRAP);
    const step = (((ticks - last) % WRAP) + WRAP) % WRAP;
    this.#lastTicks = last + (step >= WRAP / 2 ? step - WRAP : step);
    return this.#lastTicks / TICKS_PER_SECOND;
  }
}

/** One segment on its way to the demuxer: takes the tag in front out, whatever pieces it comes in. */
export class SegmentStart {
  readonly #times: SegmentTimes;
  /** Until the tag is whole. */
  #pieces: Buffer[] | undefined = [];
  #bytes = 0;
  #wanted = HEADER_BYTES;

  constructor(times: SegmentTimes) {
    this.#times = times;
  }

  /** @returns what the demuxer gets of it; nothing while the tag is not whole */
  take(chunk: Buffer): Buffer {
    if (this.#pieces === undefined) return this.#passed(chunk);
    this.#pieces.push(chunk);
    this.#bytes += chunk.length;
    if (this.#bytes < this.#wanted) return NOTHING;
    const head = Buffer.concat(this.#pieces);
    const tag = tagBytes(head);
    if (tag > MAX_TAG_BYTES) return this.#begin(head, 0);
    if (head.length >= tag) return this.#begin(head, tag);
    this.#pieces = [head];
    this.#wanted = tag;
    return NOTHING;
  }

  /** @returns what is left at the segment's end: it had fewer bytes than a tag */
  end(): Buffer {
    return this.#pieces === undefined ? NOTHING : this.#begin(Buffer.concat(this.#pieces), 0);
  }

  #begin(head: Buffer, tag: number): Buffer {
    this.#pieces = undefined;
    this.#times.begin(timestampOf(head.subarray(0, tag)));
    return this.#passed(head.subarray(tag));
  }

  #passed(bytes: Buffer): Buffer {
    this.#times.count(bytes.length);
    return bytes;
  }
}

/** @param head at least a tag's header @returns 0 without a tag */
function tagBytes(head: Buffer): number {
  if (head.toString('latin1', 0, ID3.length) !== ID3) return 0;
  const footer = ((head[5] ?? 0) & FOOTER_FLAG) === 0 ? 0 : FOOTER_BYTES;
  // Synchsafe: seven bits of each byte.
  const size = head.subarray(6, HEADER_BYTES).reduce((sum, byte) => sum * 128 + (byte & 0x7f), 0);
  return HEADER_BYTES + size + footer;
}

/** Found by its owner, which is unambiguous, so that versions and other frames of the tag do not matter. */
function timestampOf(tag: Buffer): number | undefined {
  const at = tag.indexOf(OWNER);
  if (at < 0 || at + OWNER.length + 8 > tag.length) return undefined;
  return Number(tag.readBigUInt64BE(at + OWNER.length) % BigInt(WRAP));
}
