import type { MonotonicUs } from '../media/types.ts';
import type { ChunkPhase } from './chunk-phase.ts';

/**
 * Statistics shared by the pipelines on one engine (FlashVSR: one GPU, a worker thread per broadcast): load, rung, chunk phase. In
 * shared memory and lock-free: each pipeline writes its own slot only, and a torn read costs one bad sample.
 */
const FIELDS = ['aliveAtUs', 'load', 'rung', 'steppedAtUs', 'phaseAtUs', 'periodUs', 'workUs'] as const;
type Field = (typeof FIELDS)[number];

const SLOTS = 64;
/** A slot that was not updated for this long is considered dead. */
const ALIVE_US = 3_000_000;

/** A pipeline's slot, as it travels to its thread. */
export interface EngineSlot {
  readonly memory: SharedArrayBuffer;
  readonly index: number;
}

/** The slots of one engine; lives where pipelines are made. */
export class EngineSlots {
  readonly #memory = new SharedArrayBuffer(SLOTS * FIELDS.length * Float64Array.BYTES_PER_ELEMENT);
  readonly #taken = new Set<number>();

  /** undefined when all slots are taken: that pipeline then ignores the others. */
  take(): EngineSlot | undefined {
    for (let index = 0; index < SLOTS; index += 1) {
      if (this.#taken.has(index)) continue;
      this.#taken.add(index);
      return { memory: this.#memory, index };
    }
    return undefined;
  }

  release({ index }: EngineSlot): void {
    this.#taken.delete(index);
    new Float64Array(this.#memory).fill(0, index * FIELDS.length, (index + 1) * FIELDS.length);
  }
}

/** The shared memory as one pipeline sees it. */
export class EngineShare {
  readonly #values: Float64Array;
  readonly #own: number;

  constructor({ memory, index }: EngineSlot) {
    this.#values = new Float64Array(memory);
    this.#own = index;
  }

  /** Once a second. @param load this pipeline's share of the engine's time, 0..1 */
  report(load: number, rung: number, nowUs: MonotonicUs): void {
    this.#write('load', load);
    this.#write('rung', rung);
    this.#write('aliveAtUs', nowUs);
  }

  /** The ladder has moved. */
  stepped(rung: number, nowUs: MonotonicUs): void {
    this.#write('rung', rung);
    this.#write('steppedAtUs', nowUs);
  }

  setPhase({ atUs, periodUs, workUs }: ChunkPhase, nowUs: MonotonicUs): void {
    this.#write('phaseAtUs', atUs);
    this.#write('periodUs', periodUs);
    this.#write('workUs', workUs);
    this.#write('aliveAtUs', nowUs);
  }

  /** What all the others together take of the engine's time. */
  othersLoad(nowUs: MonotonicUs): number {
    return this.#others(nowUs).reduce((sum, slot) => sum + this.#read('load', slot), 0);
  }

  othersRungs(nowUs: MonotonicUs): readonly number[] {
    return this.#others(nowUs).map((slot) => this.#read('rung', slot));
  }

  /** When another pipeline's ladder last moved; -Infinity: never. */
  othersSteppedAtUs(nowUs: MonotonicUs): MonotonicUs {
    return Math.max(-Infinity, ...this.#others(nowUs).map((slot) => this.#read('steppedAtUs', slot) || -Infinity));
  }

  othersPhases(nowUs: MonotonicUs): readonly ChunkPhase[] {
    return this.#others(nowUs)
      .filter((slot) => this.#read('periodUs', slot) > 0)
      .map((slot) => ({
        atUs: this.#read('phaseAtUs', slot),
        periodUs: this.#read('periodUs', slot),
        workUs: this.#read('workUs', slot),
      }));
  }

  #others(nowUs: MonotonicUs): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < SLOTS; slot += 1) {
      const aliveAtUs = this.#read('aliveAtUs', slot);
      if (slot !== this.#own && aliveAtUs > 0 && nowUs - aliveAtUs <= ALIVE_US) slots.push(slot);
    }
    return slots;
  }

  #read(field: Field, slot: number): number {
    return this.#values[slot * FIELDS.length + FIELDS.indexOf(field)] ?? 0;
  }

  #write(field: Field, value: number): void {
    this.#values[this.#own * FIELDS.length + FIELDS.indexOf(field)] = value;
  }
}
