/** What a second looked like. */
export interface LoadSample {
  /** Share of the second the upscaler (or the pipeline's thread) was busy, 0..1. */
  readonly load: number;
  /** Pictures dropped in front of the upscaler in this second. */
  readonly drops: number;
  /** Streams that share the engine, when there are any: they step down and up in turn. */
  readonly others?: LadderOthers;
}

export interface LadderOthers {
  /** Where their ladders are. */
  readonly rungs: readonly number[];
  /** Since one of them moved; Infinity: never. */
  readonly secondsSinceStep: number;
}

/** `load`: the machine does not keep up, or does again; `size`: the source's size decides; `content`: the model would harm what is shown. */
export type LadderCause = 'load' | 'size' | 'content';

export interface LadderStep {
  readonly rung: number;
  readonly cause: LadderCause;
  readonly reason: string;
}

const OVERLOAD = 0.95;
/** Drops count as overload only when the upscaler was busy as well: a burst of late packets drops pictures on an idle one. */
const BUSY = 0.6;
const MIN_DROPS = 2;
/** Step up only below this load: the next rung costs more. */
const ROOM = 0.6;
/** A rung whose first pictures cost this share of their time is out of reach: it is tried again as rarely as any. */
const HOPELESS = 1.5;
const SECONDS_DOWN = 2;
const SECONDS_UP = 10;
const MAX_SECONDS_UP = 160;
/** Ignore samples taken this soon after another stream stepped; the shared load has not settled. */
const OTHERS_SETTLE_SECONDS = 2;

/**
 * The overload ladder (docs/life-of-a-frame.md): down one rung after two bad seconds, or at once when a rung's first pictures
 * already take longer than there is time; up one after ten good seconds. A rung that overloads soon
 * after a step up is retried after twice the delay, to avoid oscillation. Streams that share an engine step down from the highest rung
 * first and up from the lowest.
 * Pure: one sample a second comes in, a step comes out.
 */
export class Ladder {
  readonly #rungs: number;
  #first = 0;
  #rung = 0;
  #bad = 0;
  #good = 0;
  #sinceUp = Number.POSITIVE_INFINITY;
  /** The last step was a climb. */
  #climbed = false;
  #secondsUp = SECONDS_UP;

  /** @param rungs how many there are; with one there is nowhere to go */
  constructor(rungs: number) {
    this.#rungs = rungs;
  }

  get rung(): number {
    return this.#rung;
  }

  /** Why it is the present rung. */
  get cause(): LadderCause {
    return this.#rung === this.#first ? 'size' : 'load';
  }

  /** Rungs before this one cannot be used, whatever the load. @returns the step to take now, if any */
  setFirst(rung: number, reason: string): LadderStep | undefined {
    const first = Math.min(rung, this.#rungs - 1);
    const before = this.#rung;
    // Rungs skipped for the size alone return with the size; rungs left for the load must be climbed.
    if (this.#rung === this.#first && first < this.#first) this.#rung = first;
    this.#first = first;
    this.#rung = Math.max(this.#rung, first);
    if (this.#rung === before) return undefined;
    this.#bad = this.#good = 0;
    return { rung: this.#rung, cause: 'size', reason };
  }

  /**
   * The present rung's first pictures (first_look.ts).
   * @param cost what one takes as share of the time until the next comes; above 1 it cannot hold
   * @returns the step to take now, if any
   */
  look(cost: number): LadderStep | undefined {
    if (cost <= OVERLOAD || this.#rung >= this.#rungs - 1) return undefined;
    if (cost > HOPELESS) this.#secondsUp = MAX_SECONDS_UP;
    return this.#down(`overload: its first frames take ${Math.round(cost * 100)} % of the time there is for each`);
  }

  /** @returns the step to take now, if any */
  sample({ load, drops, others }: LoadSample): LadderStep | undefined {
    const overloaded = load > OVERLOAD || (drops >= MIN_DROPS && load > BUSY);
    const settled = others === undefined || others.secondsSinceStep >= OTHERS_SETTLE_SECONDS;
    this.#bad = overloaded && settled ? this.#bad + 1 : 0;
    this.#good = load < ROOM && drops < MIN_DROPS && settled ? this.#good + 1 : 0;
    this.#sinceUp += 1;
    // The last step up held for long: conditions have changed, retry as early as at the start.
    if (this.#climbed && this.#sinceUp > MAX_SECONDS_UP) this.#secondsUp = SECONDS_UP;
    const bestOff = others?.rungs.every((rung) => rung >= this.#rung) ?? true;
    const worstOff = others?.rungs.every((rung) => rung <= this.#rung) ?? true;
    if (this.#bad >= SECONDS_DOWN && this.#rung < this.#rungs - 1 && bestOff) {
      return this.#down(`overload: load ${Math.round(load * 100)} %, ${drops} frames dropped in the last second`);
    }
    if (this.#good >= this.#secondsUp && this.#rung > this.#first && worstOff) return this.#up(load);
    return undefined;
  }

  #down(reason: string): LadderStep {
    if (this.#sinceUp <= 2 * SECONDS_UP) this.#secondsUp = Math.min(MAX_SECONDS_UP, this.#secondsUp * 2);
    this.#rung += 1;
    this.#climbed = false;
    this.#bad = this.#good = 0;
    return { rung: this.#rung, cause: 'load', reason };
  }

  #up(load: number): LadderStep {
    this.#rung -= 1;
    this.#climbed = true;
    this.#bad = this.#good = 0;
    this.#sinceUp = 0;
    const cause = this.#rung === this.#first ? 'size' : 'load';
    return { rung: this.#rung, cause, reason: `load ${Math.round(load * 100)} % for ${this.#secondsUp} s` };
  }
}
