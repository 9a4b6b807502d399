import { AppError } from '../errors.ts';

/** The right to run one pipeline. */
export interface Place {
  /** Idempotent. */
  release(): void;
}

export interface PlacesOptions {
  readonly capacity: number;
  /** How long a request waits for a pipeline that is being closed. */
  readonly waitMs?: number;
  /** All places are taken: asks a broadcast whose publisher is away to close its pipeline. @returns false when there is none */
  readonly releaseIdle: () => boolean;
  /** Whether releaseIdle() would find one. */
  readonly hasIdle: () => boolean;
  /** A place came free: later than its broadcast ended, by as long as the pipeline's thread took. */
  readonly onFreed?: () => void;
}

interface Waiter {
  grant(place: Place): void;
}

const WAIT_MS = 5000;

/**
 * How many pipelines run at once. Taking a place and counting it are one step, so there are never more than `capacity`,
 * however many ask in the same moment. A pipeline keeps its place until its thread is gone; who finds every place taken, but
 * one of them closing, waits, and one waiter is woken for each place that comes free.
 */
export class Places {
  readonly #options: PlacesOptions;
  #taken = 0;
  /** Places whose pipeline is being closed; they are counted in #taken, too. */
  #closing = 0;
  readonly #waiting = new Set<Waiter>();
  readonly #ends = new Set<Promise<void>>();

  constructor(options: PlacesOptions) {
    this.#options = options;
  }

  get capacity(): number {
    return this.#options.capacity;
  }
  get taken(): number {
    return this.#taken;
  }

  /** @throws AppError server.full when a request would be refused now. Takes nothing: a place counts from the first picture. */
  check(): void {
    const { capacity, hasIdle } = this.#options;
    if (this.#taken < capacity || this.#closing > this.#waiting.size || hasIdle()) return;
    throw this.#full();
  }

  /** @returns undefined when all places are taken */
  tryTake(): Place | undefined {
    if (this.#taken >= this.#options.capacity || this.#waiting.size > 0) return undefined;
    this.#taken += 1;
    return this.#place();
  }

  /**
   * @param abort the wait is over when it is aborted: the place goes to the next waiter
   * @throws AppError server.full when none came free in time, or none is about to
   */
  async take(abort: AbortSignal): Promise<Place> {
    const place = this.tryTake();
    if (place !== undefined) return place;
    if (this.#closing <= this.#waiting.size) this.#options.releaseIdle();
    if (this.#closing <= this.#waiting.size) throw this.#full();
    return await new Promise<Place>((resolve, reject) => {
      const end = (): void => {
        clearTimeout(timer);
        abort.removeEventListener('abort', giveUp);
        this.#waiting.delete(waiter);
      };
      const giveUp = (): void => {
        end();
        reject(this.#full());
      };
      const waiter: Waiter = {
        grant: (granted) => {
          end();
          resolve(granted);
        },
      };
      const timer = setTimeout(giveUp, this.#options.waitMs ?? WAIT_MS);
      abort.addEventListener('abort', giveUp, { once: true });
      this.#waiting.add(waiter);
    });
  }

  /** The place's pipeline is being closed: it counts until `closed` settles. */
  releaseAfter(place: Place, closed: Promise<void>): Promise<void> {
    this.#closing += 1;
    const end = closed
      .catch(() => undefined)
      .finally(() => {
        this.#closing -= 1;
        this.#ends.delete(end);
        place.release();
      });
    this.#ends.add(end);
    return end;
  }

  /** Every pipeline that is being closed is gone. */
  async settled(): Promise<void> {
    await Promise.all(this.#ends);
  }

  toJSON(): object {
    return { capacity: this.capacity, taken: this.#taken, closing: this.#closing, waiting: this.#waiting.size };
  }

  #place(): Place {
    let held = true;
    return {
      release: () => {
        if (!held) return;
        held = false;
        const [next] = this.#waiting;
        if (next === undefined) {
          this.#taken -= 1;
          this.#options.onFreed?.();
          return;
        }
        // The place passes on without coming free in between.
        next.grant(this.#place());
      },
    };
  }

  #full(): AppError {
    const { capacity } = this.#options;
    return new AppError('server.full', `The server already runs its ${capacity} broadcasts (limits.maxBroadcasts).`, {
      context: { running: this.#taken, capacity },
    });
  }
}
