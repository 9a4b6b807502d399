/**
 * One clock for a file whose own clock jumps: recordings that were joined, recorders that restarted, a step of the sound's clock.
 * The work is done on decoding times, in seconds, before anything is decoded; ffmpeg does the same (`-dts_delta_threshold`), with
 * one offset for the whole file. Here a stretch of the file between two jumps has an offset, and every stream enters it by itself:
 * around a joint the last packets of one stream come after the first ones of another.
 */

/** A stretch of the file without a jump. */
export interface Stretch {
  readonly index: number;
  /** What to add to a time of the file, in seconds. Certain once the stretch is settled. */
  offset: number;
}

interface StreamClock {
  stretch: number;
  /** Of the last packet, by the file's clock, and what should follow it. */
  last: number;
  next: number;
  /** The same, by the result's clock. */
  resultNext: number;
  /** Up to here by the result's clock the stream was there before the last jump. */
  covered: number;
}

export type StreamKind = 'video' | 'audio' | 'other';

/** Times of one packet by the file's clock, in seconds; absent where the file has none. */
export interface PacketTime {
  readonly dts: number | undefined;
  readonly duration: number;
}

/** Decoding times never run backwards; clocks of several streams differ by less than this at one place of the file. */
const BACK_SECONDS = 0.1;
/** A longer gap is a jump of the clock, in the formats that allow one. ffmpeg's `-dts_delta_threshold`. */
const GAP_SECONDS = 10;
/** Streams of one recording end about together. */
const SMALL_OVERLAP_SECONDS = 0.25;
/** A file of a jump a packet must not cost more and more. */
const REMEMBERED_STRETCHES = 64;

export class FileTimeline {
  readonly #stretches: Stretch[] = [{ index: 0, offset: 0 }];
  readonly #clocks = new Map<number, StreamClock>();
  readonly #closesGaps: boolean;
  /** Jumps found. */
  jumps = 0;

  /** @param closesGaps the format's clock may jump forward (transport and program streams, FLV, Ogg); in others a gap is meant */
  constructor(closesGaps: boolean) {
    this.#closesGaps = closesGaps;
  }

  /** No stream will change the stretch's offset any more: all of them are in it, or behind it. */
  isSettled({ index }: Stretch): boolean {
    return [...this.#clocks.values()].every(({ stretch }) => stretch >= index);
  }

  /**
   * The stretch that a packet belongs to; its times are to be moved by the offset that the stretch has when it is settled.
   * `undefined`: a packet of sound that repeats a time already covered, at a joint; to be left out.
   */
  place(stream: number, kind: StreamKind, time: PacketTime): Stretch | undefined {
    const { dts, duration } = time;
    const clock = this.#clocks.get(stream);
    if (kind === 'other') return this.#stretch(this.#newestOf());
    if (clock === undefined) return this.#begin(stream, time);
    if (dts === undefined) {
      clock.last = clock.next;
      clock.next += duration;
      clock.resultNext += duration;
      return this.#stretch(clock.stretch);
    }
    this.#enter(stream, clock, dts, kind);
    const stretch = this.#stretch(clock.stretch);
    const result = dts + stretch.offset;
    clock.last = dts;
    clock.next = dts + duration;
    if (kind === 'audio' && result + duration / 2 < clock.covered) return undefined;
    clock.resultNext = Math.max(clock.resultNext, result + duration);
    return stretch;
  }

  /** A stream's first packet: it belongs where the file is, which is where the other streams are. */
  #begin(stream: number, { dts, duration }: PacketTime): Stretch {
    const near = this.#nearestTo(dts ?? 0);
    let stretch = near?.stretch ?? 0;
    if (near !== undefined && dts !== undefined && this.#closesGaps && Math.abs(dts - near.last) > GAP_SECONDS) {
      stretch = this.#jump(near.resultNext - dts);
    }
    const begun = this.#stretch(stretch);
    const last = dts ?? (near === undefined ? 0 : near.last);
    this.#clocks.set(stream, {
      stretch,
      last,
      next: last + duration,
      resultNext: last + duration + begun.offset,
      covered: -Infinity,
    });
    return begun;
  }

  #enter(stream: number, clock: StreamClock, dts: number, kind: StreamKind): void {
    const ahead = dts - clock.next;
    const back = dts + BACK_SECONDS < clock.last;
    const gap = ahead > GAP_SECONDS && this.#closesGaps && !this.#otherIsAt(stream, clock, dts);
    if (!back && !gap && ahead <= BACK_SECONDS) return;
    clock.covered = clock.resultNext;
    // Another stream may have found this jump, and set the offset for both: picture and sound stay in step.
    const known = this.#bestStretch(clock, dts);
    if (known !== undefined) clock.stretch = known;
    else if (back || gap) clock.stretch = this.#jump(clock.resultNext - dts);
    const stretch = this.#stretch(clock.stretch);
    const overlap = clock.resultNext - (dts + stretch.offset);
    // Another stream found the jump and ended before this one did: the whole stretch moves on, nothing is lost.
    if ((!back && !gap) || overlap <= 0 || (kind === 'audio' && overlap >= SMALL_OVERLAP_SECONDS)) return;
    stretch.offset += overlap;
    for (const other of this.#clocks.values())
      if (other !== clock && other.stretch === stretch.index) other.resultNext += overlap;
  }

  #bestStretch(clock: StreamClock, dts: number): number | undefined {
    const here = Math.abs(dts + this.#stretch(clock.stretch).offset - clock.resultNext);
    let best: number | undefined;
    let bestError = Math.min(1, here);
    const oldest = Math.max(0, this.#stretches.length - REMEMBERED_STRETCHES);
    for (let index = this.#stretches.length - 1; index >= oldest; index -= 1) {
      const error = Math.abs(dts + this.#stretch(index).offset - clock.resultNext);
      if (index === clock.stretch || error >= bestError) continue;
      best = index;
      bestError = error;
    }
    return best;
  }

  /** Another stream went on to `dts` without a jump: this one has a real gap (a picture that stands, sound that was muted). */
  #otherIsAt(stream: number, clock: StreamClock, dts: number): boolean {
    return [...this.#clocks].some(
      ([index, other]) =>
        index !== stream && other.stretch === clock.stretch && Math.abs(dts - other.next) < (dts - clock.next) / 2,
    );
  }

  #nearestTo(dts: number): StreamClock | undefined {
    return [...this.#clocks.values()].sort((a, b) => Math.abs(a.last - dts) - Math.abs(b.last - dts))[0];
  }

  #newestOf(): number {
    return Math.max(0, ...[...this.#clocks.values()].map(({ stretch }) => stretch));
  }

  #jump(offset: number): number {
    this.jumps += 1;
    return this.#stretches.push({ index: this.#stretches.length, offset }) - 1;
  }

  #stretch(index: number): Stretch {
    return this.#stretches[index] ?? { index: 0, offset: 0 };
  }
}
