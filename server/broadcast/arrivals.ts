import { AppError } from '../errors.ts';

/** One publisher session in the count of its address. */
export interface Arrival {
  /** Its first picture has come: it is a broadcast now, and no newcomer can replace it. */
  settle(): void;
  /** Its session has ended. Idempotent. */
  leave(): void;
}

export interface ArrivalLimits {
  /** Publisher sessions of one address. */
  readonly perAddress: number;
  /** Publisher sessions of all addresses that have not sent a picture yet. */
  readonly unsettled: number;
}

interface Entry {
  readonly address: string;
  readonly evict: (error: AppError) => void;
  settled: boolean;
}

/**
 * Publisher sessions by address. A session that has sent no picture takes no place on the machine but costs sockets, so
 * their number is bounded; an address over the bound loses the oldest of its sessions without a picture, so that
 * offers which never connect keep no one out.
 */
export class Arrivals {
  readonly #limits: ArrivalLimits;
  /** Oldest first. */
  readonly #entries = new Set<Entry>();

  constructor(limits: ArrivalLimits) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#entries.size;
  }

  /**
   * @param evict ends the session that gave way to a newer one
   * @throws AppError request.tooMany when the address has its share of sessions with pictures
   */
  enter(address: string, evict: (error: AppError) => void): Arrival {
    const { perAddress, unsettled } = this.#limits;
    const own = [...this.#entries].filter((entry) => entry.address === address);
    if (own.length >= perAddress) {
      const oldest = own.find(({ settled }) => !settled);
      if (oldest === undefined) {
        throw new AppError(
          'request.tooMany',
          `Your address already has its ${perAddress} broadcasts (limits.maxBroadcastsPerAddress).`,
          { context: { limit: perAddress } },
        );
      }
      this.#evict(oldest);
    } else {
      const waiting = [...this.#entries].filter(({ settled }) => !settled);
      if (waiting.length >= unsettled) this.#evict(oldestOfTheBusiest(waiting));
    }
    const entry: Entry = { address, evict, settled: false };
    this.#entries.add(entry);
    return { settle: () => (entry.settled = true), leave: () => void this.#entries.delete(entry) };
  }

  #evict(entry: Entry): void {
    this.#entries.delete(entry);
    entry.evict(
      new AppError(
        'request.tooMany',
        'This session had sent no picture yet and gave way to a newer one of its address.',
      ),
    );
  }
}

/** @param waiting not empty, oldest first */
function oldestOfTheBusiest(waiting: readonly Entry[]): Entry {
  const count = new Map<string, number>();
  for (const { address } of waiting) count.set(address, (count.get(address) ?? 0) + 1);
  const most = Math.max(...count.values());
  return waiting.find(({ address }) => count.get(address) === most) as Entry;
}
