import type { MonotonicUs } from '../media/types.ts';
import type { ChunkPhase } from './chunk-phase.ts';

/**
 * What pipelines that share one engine (FlashVSR: one GPU, a worker thread per broadcast) know of each other: how busy each
 * keeps it, on which rung it is, when its chunks get complete. Shared memory: nobody waits, nobody sends messages; a value read
 * while it is written is one second's wrong guess. Every pipeline writes its own place only.
 */
const FIELDS = ['aliveAtUs', 'load', 'rung', 'steppedAtUs', 'phaseAtUs', 'periodUs', 'workUs'] as const;
type Field = (typeof FIELDS)[number];

const PLACES = 64;
/** A pipeline that has not written for so long is gone, or its thread is. */
const ALIVE_US = 3_000_000;

/** A pipeline's place, as it travels to its thread. */
export interface EnginePlace {
  readonly memory: SharedArrayBuffer;
  readonly place: number;
}

/** Gives places out; lives where the pipelines are made. */
export class EnginePlaces {
  readonly #memory = new SharedArrayBuffer(PLACES * FIELDS.length * Float64Array.BYTES_PER_ELEMENT);
  readonly #taken = new Set<number>();

  /** undefined when there are more pipelines than places: such a one goes by itself alone. */
  take(): EnginePlace | undefined {
    for (let place = 0; place < PLACES; place += 1) {
      if (this.#taken.has(place)) continue;
      this.#taken.add(place);
      return { memory: this.#memory, place };
    }
    return undefined;
  }

  release({ place }: EnginePlace): void {
    this.#taken.delete(place);
    new Float64Array(this.#memory).fill(0, place * FIELDS.length, (place + 1) * FIELDS.length);
  }
}

/** The shared memory as one pipeline sees it. */
export class EngineShare {
  readonly #values: Float64Array;
  readonly #own: number;

  constructor({ memory, place }: EnginePlace) {
    this.#values = new Float64Array(memory);
    this.#own = place;
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
    return this.#others(nowUs).reduce((sum, place) => sum + this.#read('load', place), 0);
  }

  othersRungs(nowUs: MonotonicUs): readonly number[] {
    return this.#others(nowUs).map((place) => this.#read('rung', place));
  }

  /** When another pipeline's ladder last moved; -Infinity: never. */
  othersSteppedAtUs(nowUs: MonotonicUs): MonotonicUs {
    return Math.max(-Infinity, ...this.#others(nowUs).map((place) => this.#read('steppedAtUs', place) || -Infinity));
  }

  othersPhases(nowUs: MonotonicUs): readonly ChunkPhase[] {
    return this.#others(nowUs)
      .filter((place) => this.#read('periodUs', place) > 0)
      .map((place) => ({
        atUs: this.#read('phaseAtUs', place),
        periodUs: this.#read('periodUs', place),
        workUs: this.#read('workUs', place),
      }));
  }

  #others(nowUs: MonotonicUs): number[] {
    const places: number[] = [];
    for (let place = 0; place < PLACES; place += 1) {
      const aliveAtUs = this.#read('aliveAtUs', place);
      if (place !== this.#own && aliveAtUs > 0 && nowUs - aliveAtUs <= ALIVE_US) places.push(place);
    }
    return places;
  }

  #read(field: Field, place: number): number {
    return this.#values[place * FIELDS.length + FIELDS.indexOf(field)] ?? 0;
  }

  #write(field: Field, value: number): void {
    this.#values[this.#own * FIELDS.length + FIELDS.indexOf(field)] = value;
  }
}
