/** A step of a stream's clock beyond this is another clock: a source that has restarted, or the joint of two programmes. */
const MAX_AHEAD_SECONDS = 10;
const MAX_BEHIND_SECONDS = 1;
/** Clocks that streams of one source may be on at a time: sound arrives behind a joint later, or earlier, than pictures. */
const MAX_CLOCKS = 4;

/**
 * The times of a source's streams as one clock that starts at 0 and goes on over joints. All streams of a source jump by the same step,
 * so a packet that does not continue its stream is placed by a step that another stream has made before, and only otherwise by its own.
 */
export class Timeline {
  /** Newest last. Seconds to be added. */
  readonly #offsets: number[] = [];
  /** Where each stream's next packet is expected, on the one clock. */
  readonly #expected = new Map<string, number>();

  /** Where everything so far has ended. */
  get endSeconds(): number {
    return Math.max(0, ...this.#expected.values());
  }

  /**
   * @param stream its name within the source
   * @param seconds decoding time of its packet by the source's clock
   * @returns what to add to the packet's times
   */
  place(stream: string, seconds: number, durationSeconds: number): number {
    const expected = this.#expected.get(stream);
    const offset = this.#offsetFor(expected, seconds);
    this.#expected.set(stream, Math.max(seconds + offset + durationSeconds, expected ?? -Infinity));
    return offset;
  }

  /** A new clock begins where everything has ended: a file from its start again. @param startSeconds its first time */
  join(startSeconds: number): void {
    const endSeconds = this.endSeconds;
    this.#push(endSeconds - startSeconds);
    for (const stream of this.#expected.keys()) this.#expected.set(stream, endSeconds);
  }

  #offsetFor(expected: number | undefined, seconds: number): number {
    const newest = this.#offsets.at(-1);
    if (newest === undefined) return this.#push(-seconds);
    if (expected === undefined) {
      // The first packet of a further stream belongs to the clock that the others are on.
      const distance = seconds + newest - this.endSeconds;
      return Math.abs(distance) <= MAX_AHEAD_SECONDS ? newest : this.#push(this.endSeconds - seconds);
    }
    const steps = this.#offsets.map((offset) => ({ offset, step: seconds + offset - expected }));
    const fitting = steps.filter(({ step }) => step <= MAX_AHEAD_SECONDS && step >= -MAX_BEHIND_SECONDS);
    const [best] = fitting.sort((a, b) => Math.abs(a.step) - Math.abs(b.step));
    return best?.offset ?? this.#push(expected - seconds);
  }

  #push(offset: number): number {
    this.#offsets.push(offset);
    if (this.#offsets.length > MAX_CLOCKS) this.#offsets.shift();
    return offset;
  }
}
