import { AppError } from '../errors.ts';
import type { Place } from './places.ts';

export interface ViewerLimits {
  readonly maxViewers: number;
  readonly maxViewersPerBroadcast: number;
  readonly maxViewersPerAddress: number;
}

/**
 * Counts viewers in all, by broadcast and by address. A place is taken when the request comes, before the answer is made,
 * so any number of simultaneous requests stays within the limits.
 */
export class ViewerPlaces {
  readonly #limits: ViewerLimits;
  #total = 0;
  readonly #byBroadcast = new Map<string, number>();
  readonly #byAddress = new Map<string, number>();

  constructor(limits: ViewerLimits) {
    this.#limits = limits;
  }

  get taken(): number {
    return this.#total;
  }

  /** @throws AppError server.full | request.tooMany, the message names the limit */
  take(broadcast: string, address: string): Place {
    const { maxViewers, maxViewersPerBroadcast, maxViewersPerAddress } = this.#limits;
    if (this.#total >= maxViewers) {
      throw new AppError('server.full', `The server has its ${maxViewers} viewers (limits.maxViewers).`);
    }
    if ((this.#byBroadcast.get(broadcast) ?? 0) >= maxViewersPerBroadcast) {
      throw new AppError(
        'server.full',
        `"${broadcast}" has its ${maxViewersPerBroadcast} viewers (limits.maxViewersPerBroadcast).`,
      );
    }
    if ((this.#byAddress.get(address) ?? 0) >= maxViewersPerAddress) {
      throw new AppError(
        'request.tooMany',
        `Your address already has its ${maxViewersPerAddress} viewers (limits.maxViewersPerAddress).`,
      );
    }
    this.#count(broadcast, address, 1);
    let held = true;
    return {
      release: () => {
        if (held) this.#count(broadcast, address, -1);
        held = false;
      },
    };
  }

  #count(broadcast: string, address: string, change: 1 | -1): void {
    this.#total += change;
    add(this.#byBroadcast, broadcast, change);
    add(this.#byAddress, address, change);
  }
}

function add(counts: Map<string, number>, key: string, change: number): void {
  const count = (counts.get(key) ?? 0) + change;
  if (count <= 0) counts.delete(key);
  else counts.set(key, count);
}
