import { createHash } from 'node:crypto';
import { AVERROR_EAGAIN, AVERROR_EOF, type AVPacketFlag } from 'node-av/constants';
import { Packet, type CodecContext, type Frame } from 'node-av/lib';
import { AppError } from '../errors.ts';
import { libavMessage } from './native.ts';
import type { KeptPacket } from './segment-file.ts';
import type { SegmentStore } from './segment-store.ts';

/** Places that x265's pictures are moved by. */
const MAX_REORDERED = 2n;

export interface FilmEncoderOptions {
  /** The result's name, for messages. */
  readonly file: string;
  readonly open: () => CodecContext;
  /** Takes a packet, in the source's time base, which stays the caller's; throws what ends the job. */
  readonly write: (packet: Packet) => Promise<void>;
  /** Absent: one encoder for the whole film, and nothing is kept. */
  readonly store?: SegmentStore | undefined;
  /** Of a segment in the store. */
  readonly segmentFrames: number;
}

/**
 * The pictures of a film to packets in decoding order, in segments that know nothing of each other: each begins
 * with an encoder of its own. So a run that goes on behind a kept segment makes the same bytes as one that was never stopped.
 */
export class FilmEncoder {
  /** The first encoder, which describes the stream; of use until the first picture only. */
  readonly context: CodecContext;
  readonly #options: FilmEncoderOptions;
  readonly #packet = new Packet();
  /** By pts, of pictures inside the encoder, which does not carry durations through. */
  readonly #durations = new Map<bigint, bigint>();
  #current: CodecContext | undefined;
  #inSegment = 0;
  #lastDts: bigint | undefined;
  /** Times of the first and the last picture that the current encoder got. */
  #span: readonly [first: bigint, last: bigint] = [0n, 0n];
  readonly #kept: AsyncGenerator<KeptPacket, void, undefined> | undefined;
  /** Times of kept pictures of the source without their packet, and of packets without their picture. */
  readonly #unmatched = new Set<bigint>();
  #passed = 0;
  #closed = false;

  /** @throws AppError file.unwritable when what the store has kept is another encoder's */
  constructor(options: FilmEncoderOptions) {
    this.#options = options;
    this.#packet.alloc();
    this.context = options.open();
    this.#current = this.context;
    try {
      options.store?.useEncoder(fingerprint(this.context), options.file);
    } catch (error) {
      this.#free();
      throw error;
    }
    this.#kept = options.store?.packets();
  }

  /** Instead of encode(), for the next of the pictures that the store has kept. @throws AppError file.unreadable for another film's */
  async passKept(pts: bigint): Promise<void> {
    const next = await this.#kept?.next();
    if (next === undefined || next.done === true) throw new AppError('internal', 'No picture is kept any more.');
    const { value } = next;
    for (const time of [pts, value.pts]) if (!this.#unmatched.delete(time)) this.#unmatched.add(time);
    this.#passed += 1;
    // Pictures are at most some sixteen places from where they are decoded.
    if (this.#unmatched.size > (this.#passed === this.#options.store?.keptFrames ? 0 : 64)) throw this.#otherFilm();
    const packet = this.#packet;
    packet.data = value.data;
    Object.assign(packet, { pts: value.pts, dts: value.dts, duration: value.duration });
    packet.flags = value.flags as AVPacketFlag;
    this.#lastDts = value.dts;
    await this.#options.write(packet);
    packet.unref();
  }

  /** @param frame has its pts, later than the last one's, and stays the caller's */
  async encode(frame: Frame, duration: bigint): Promise<void> {
    this.#current ??= this.#options.open();
    this.#durations.set(frame.pts, duration);
    this.#span = [this.#inSegment === 0 ? frame.pts : this.#span[0], frame.pts];
    const code = await this.#current.sendFrame(frame);
    if (code < 0) throw this.#unwritable(code);
    await this.#drain(this.#current);
    this.#inSegment += 1;
    if (this.#options.store === undefined || this.#inSegment < this.#options.segmentFrames) return;
    await this.finish();
    await this.#options.store.endSegment();
    this.#current.freeContext();
    this.#current = undefined;
    this.#inSegment = 0;
  }

  /** @param index of a picture in the film */
  endsSegment(index: number): boolean {
    const { store, segmentFrames } = this.#options;
    return store?.isKeeping === true && (index - store.keptFrames + 1) % segmentFrames === 0;
  }

  /** Everything pushed so far comes out. */
  async finish(): Promise<void> {
    if (this.#current === undefined || this.#inSegment === 0) return;
    await this.#current.sendFrame(null);
    await this.#drain(this.#current);
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#free();
    await this.#kept?.return(undefined);
  }

  #free(): void {
    this.#current?.freeContext();
    this.#packet.free();
  }

  async #drain(encoder: CodecContext): Promise<void> {
    const packet = this.#packet;
    for (;;) {
      const code = await encoder.receivePacket(packet);
      if (code === AVERROR_EAGAIN || code === AVERROR_EOF) return;
      if (code < 0) throw this.#unwritable(code);
      // Without it the last picture would last no time at all.
      packet.duration = this.#durations.get(packet.pts) ?? 0n;
      this.#durations.delete(packet.pts);
      packet.dts = this.#lastDts = this.#dtsOf(packet);
      await this.#options.store?.add(packet);
      await this.#options.write(packet);
      packet.unref();
    }
  }

  /**
   * The encoder's decoding time where it is one: x265 makes up the one of a film (a segment) with fewer pictures than it reorders. And a
   * new encoder's first ones may lie before the last one's where the pictures are unevenly spaced.
   */
  #dtsOf({ pts, dts }: Packet): bigint {
    const [first, last] = this.#span;
    const isPossible = dts <= pts && dts >= first - (last - first);
    if (this.#lastDts === undefined) return isPossible ? dts : pts - MAX_REORDERED;
    return isPossible && dts > this.#lastDts ? dts : this.#lastDts + 1n;
  }

  #otherFilm(): AppError {
    return new AppError(
      'file.unreadable',
      `The input is not the one that the frames kept of ${this.#options.file} were made of: its times differ.`,
      {
        context: { file: this.#options.file, frame: this.#passed },
        remedy: 'Give the same input, or start again with --overwrite, which removes the kept frames.',
      },
    );
  }

  #unwritable(code: number): AppError {
    const reason = libavMessage(code);
    return new AppError('file.unwritable', `${this.#options.file} cannot be written: ${reason}.`, {
      context: { file: this.#options.file, reason },
      remedy: 'Use another --codec or --preset.',
    });
  }
}

/** Of everything that the packets of two encoders must have in common to be one stream. */
function fingerprint({ codecId, width, height, pixelFormat, timeBase, extraData }: CodecContext): Buffer<ArrayBuffer> {
  const { num, den } = timeBase;
  const text = JSON.stringify([codecId, width, height, pixelFormat, num, den]);
  return createHash('sha256')
    .update(text)
    .update(extraData ?? '')
    .digest();
}
