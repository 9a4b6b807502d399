import { canonicalAddress } from './address.ts';

/** Counts what each client uses; no sockets, time is an argument. */

/** Token bucket: `perSecond` on average, `burst` at once. */
export class RateLimit {
  #tokens: number;
  #updatedMs: number;
  readonly #perSecond: number;
  readonly #burst: number;

  constructor(perSecond: number, burst: number, nowMs: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
    this.#tokens = burst;
    this.#updatedMs = nowMs;
  }

  /** @returns false when fewer tokens than `cost` are left; nothing is taken then. */
  take(nowMs: number, cost = 1): boolean {
    const elapsedMs = Math.max(0, nowMs - this.#updatedMs);
    this.#tokens = Math.min(this.#burst, this.#tokens + (elapsedMs / 1000) * this.#perSecond);
    this.#updatedMs = nowMs;
    if (this.#tokens < cost) return false;
    this.#tokens -= cost;
    return true;
  }
}

/** More addresses at once than a server has clients; the one not seen for longest is forgotten. */
const MAX_ADDRESSES = 8192;

/** A token bucket for each address. Memory is bounded, whatever the number of addresses. */
export class AddressRates {
  readonly #perSecond: number;
  readonly #burst: number;
  /** Least recently used first. */
  readonly #buckets = new Map<string, RateLimit>();

  constructor(perSecond: number, burst: number) {
    this.#perSecond = perSecond;
    this.#burst = burst;
  }

  get addresses(): number {
    return this.#buckets.size;
  }

  /** @returns false when the address has spent its tokens */
  take(address: string, nowMs: number): boolean {
    const key = addressKey(address);
    const bucket = this.#buckets.get(key) ?? new RateLimit(this.#perSecond, this.#burst, nowMs);
    this.#buckets.delete(key);
    this.#buckets.set(key, bucket);
    if (this.#buckets.size > MAX_ADDRESSES) {
      const [oldest] = this.#buckets.keys();
      if (oldest !== undefined) this.#buckets.delete(oldest);
    }
    return bucket.take(nowMs);
  }
}

/** Open connections by address. */
export class AddressCount {
  readonly #counts = new Map<string, number>();
  readonly #most: number;

  constructor(most: number) {
    this.#most = most;
  }

  /** @returns false when the address has its share already. */
  enter(address: string): boolean {
    const key = addressKey(address);
    const count = this.#counts.get(key) ?? 0;
    if (count >= this.#most) return false;
    this.#counts.set(key, count + 1);
    return true;
  }

  exit(address: string): void {
    const key = addressKey(address);
    const count = this.#counts.get(key) ?? 0;
    if (count <= 1) this.#counts.delete(key);
    else this.#counts.set(key, count - 1);
  }

  get addresses(): number {
    return this.#counts.size;
  }
}

/**
 * One key for one household: IPv4 as it is (also when mapped into IPv6, in any spelling), IPv6 by its /64, because a single subscriber has
 * 2^64 addresses to choose from (RFC 6177).
 */
export function addressKey(address: string): string {
  const canonical = canonicalAddress(address) ?? address;
  if (!canonical.includes(':')) return canonical;
  const [head = '', tail] = canonical.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Math.max(0, 8 - left.length - right.length);
  const groups = tail === undefined ? left : [...left, ...Array<string>(zeros).fill('0'), ...right];
  return `${groups.slice(0, 4).join(':')}::/64`;
}
