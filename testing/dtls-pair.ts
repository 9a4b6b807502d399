import type { AppError } from '../server/errors.ts';
import type { Clock } from '../server/rtc/dtls/clock.ts';
import { createOwnCertificate, type OwnCertificate } from '../server/rtc/dtls/own-certificate.ts';
import { DtlsSession, type DtlsKeys, type DtlsOptions } from '../server/rtc/dtls/session.ts';

/** Two sessions on one fake clock, and between them a link that loses, repeats, delays and changes datagrams. */

export class FakeClock implements Clock {
  #nowMs = 0;
  #order = 0;
  #due: { readonly atMs: number; readonly order: number; readonly run: () => void }[] = [];

  nowMs(): number {
    return this.#nowMs;
  }

  after(delayMs: number, run: () => void): () => void {
    const entry = { atMs: this.#nowMs + delayMs, order: this.#order++, run };
    this.#due.push(entry);
    return () => {
      this.#due = this.#due.filter((other) => other !== entry);
    };
  }

  /** Runs what is due within this time, in its order. */
  advance(ms: number): void {
    const end = this.#nowMs + ms;
    for (;;) {
      const [next] = this.#due.filter(({ atMs }) => atMs <= end).sort((a, b) => a.atMs - b.atMs || a.order - b.order);
      if (next === undefined) break;
      this.#due = this.#due.filter((other) => other !== next);
      this.#nowMs = Math.max(this.#nowMs, next.atMs);
      next.run();
    }
    this.#nowMs = end;
  }
}

/** mulberry32: the same numbers for the same seed. */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export class End {
  readonly events: string[] = [];
  keys: DtlsKeys | undefined;
  error: AppError | undefined;
  readonly session: DtlsSession;
  /** Every datagram that the session sent. */
  readonly sent: Buffer[] = [];
  /** Where they go. */
  deliver: (datagram: Buffer) => void = () => undefined;

  constructor(options: Omit<DtlsOptions, 'send' | 'listener'>) {
    this.session = new DtlsSession({
      ...options,
      send: (datagram) => {
        this.sent.push(datagram);
        this.deliver(datagram);
      },
      listener: {
        onConnected: (keys) => {
          this.keys = keys;
          this.events.push('connected');
        },
        onClosed: () => this.events.push('closed'),
        onFailed: (error) => {
          this.error = error;
          this.events.push('failed');
        },
      },
    });
  }

  get reason(): unknown {
    return this.error?.context['reason'];
  }
}

export const CERTIFICATES: Readonly<Record<'server' | 'client' | 'other', OwnCertificate>> = {
  server: createOwnCertificate(30),
  client: createOwnCertificate(30),
  other: createOwnCertificate(30),
};

export function fingerprintOf({ sha256Fingerprint }: OwnCertificate) {
  return [{ algorithm: 'sha-256', value: sha256Fingerprint }];
}

export interface PairOptions {
  readonly server?: Partial<DtlsOptions>;
  readonly client?: Partial<DtlsOptions>;
  /** Each way; in ms. */
  readonly delayMs?: number | ((random: () => number) => number);
  readonly random?: () => number;
  readonly lossShare?: number;
  readonly repeatShare?: number;
  /** What becomes of a datagram on its way; none: it is lost. */
  readonly change?: (datagram: Buffer, from: 'server' | 'client') => readonly Buffer[];
}

export class Pair {
  readonly clock = new FakeClock();
  readonly server: End;
  readonly client: End;

  constructor(options: PairOptions = {}) {
    const { random = seeded(1), lossShare = 0, repeatShare = 0, delayMs = 10, change } = options;
    const common = { srtpProfiles: ['AEAD_AES_128_GCM', 'AES128_CM_HMAC_SHA1_80'] as const, clock: this.clock };
    this.server = new End({
      ...common,
      role: 'server',
      certificate: CERTIFICATES.server,
      remoteFingerprints: fingerprintOf(CERTIFICATES.client),
      ...options.server,
    });
    this.client = new End({
      ...common,
      role: 'client',
      certificate: CERTIFICATES.client,
      remoteFingerprints: fingerprintOf(CERTIFICATES.server),
      ...options.client,
    });
    const connect = (from: End, to: End, name: 'server' | 'client') => {
      from.deliver = (datagram) => {
        for (const changed of change?.(datagram, name) ?? [datagram]) {
          const copies = random() < repeatShare ? 2 : 1;
          for (let copy = 0; copy < copies; copy++) {
            if (random() < lossShare) continue;
            const delay = typeof delayMs === 'number' ? delayMs : delayMs(random);
            this.clock.after(delay, () => to.session.receive(Buffer.from(changed)));
          }
        }
      };
    };
    connect(this.server, this.client, 'server');
    connect(this.client, this.server, 'client');
  }

  start(): this {
    this.server.session.start();
    this.client.session.start();
    return this;
  }

  /** @returns itself, after this time */
  run(ms = 1000): this {
    this.clock.advance(ms);
    return this;
  }
}
