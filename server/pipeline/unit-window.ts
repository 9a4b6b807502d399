import type { AccessUnit } from '../media/types.ts';

export interface UnitWindowLimits {
  readonly maxBytes: number;
  readonly maxUnits: number;
}

/** Twice this is what one broadcast can hold: on its way to the thread, and waiting. Twenty seconds at 6 Mbit/s. */
const LIMITS: UnitWindowLimits = { maxBytes: 16 * 1024 * 1024, maxUnits: 1024 };

/**
 * The way of access units to a pipeline's thread, bounded by bytes and by number. A message port has no bound: units
 * that come while the thread loads, or while it works on a long turn, would gather there. A thread that takes nothing for now
 * leaves units waiting here, from the last keyframe on; when even those are too many, the rest is left out up to the next keyframe.
 *
 * O(1) a unit, apart from dropping what waits.
 */
export class UnitWindow {
  readonly #limits: UnitWindowLimits;
  readonly #send: (unit: AccessUnit) => void;
  /** Bytes of the units that are on their way, in their order. */
  readonly #sent: number[] = [];
  #sentBytes = 0;
  #waiting: AccessUnit[] = [];
  #waitingBytes = 0;
  #open = false;
  #gap = false;
  #dropped = 0;

  constructor(send: (unit: AccessUnit) => void, limits = LIMITS) {
    this.#send = send;
    this.#limits = limits;
  }

  get dropped(): number {
    return this.#dropped;
  }
  /** Units were left out: only a keyframe goes on from here. */
  get needsKeyframe(): boolean {
    return this.#gap;
  }
  get waitingBytes(): number {
    return this.#waitingBytes;
  }

  /** The unit's memory is copied, not taken: it is often a view of a larger buffer, and small. */
  push(unit: AccessUnit): void {
    if (unit.keyframe) this.#gap = false;
    else if (this.#gap) {
      this.#dropped += 1;
      return;
    }
    if (this.#waiting.length === 0 && this.#hasRoom()) return this.#forward(copyOf(unit));
    if (unit.keyframe) this.clear();
    else if (isFull(this.#waiting.length, this.#waitingBytes + unit.data.length, this.#limits)) {
      this.#gap = true;
      this.#dropped += 1;
      return;
    }
    this.#waiting.push(copyOf(unit));
    this.#waitingBytes += unit.data.length;
  }

  /** The thread takes messages, and has worked on so many units since the last call. */
  taken(units: number): void {
    this.#open = true;
    for (const bytes of this.#sent.splice(0, units)) this.#sentBytes -= bytes;
    let next = 0;
    for (; next < this.#waiting.length && this.#hasRoom(); next += 1) this.#forward(this.#waiting[next] as AccessUnit);
    for (const { data } of this.#waiting.splice(0, next)) this.#waitingBytes -= data.length;
  }

  /** What waits is of no use any more. */
  clear(): void {
    this.#dropped += this.#waiting.length;
    this.#waiting = [];
    this.#waitingBytes = 0;
  }

  #hasRoom(): boolean {
    return this.#open && !isFull(this.#sent.length, this.#sentBytes, this.#limits);
  }

  #forward(unit: AccessUnit): void {
    const bytes = unit.data.length;
    this.#sent.push(bytes);
    this.#sentBytes += bytes;
    this.#send(unit);
  }
}

function copyOf(unit: AccessUnit): AccessUnit {
  return { ...unit, data: new Uint8Array(unit.data) };
}

function isFull(units: number, bytes: number, { maxUnits, maxBytes }: UnitWindowLimits): boolean {
  return units >= maxUnits || bytes >= maxBytes;
}
