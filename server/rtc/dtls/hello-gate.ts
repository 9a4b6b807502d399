import { createHmac, randomBytes } from 'node:crypto';
import { HELLO_VERIFY_BURST, HELLO_VERIFY_INTERVAL_MS, MAX_HANDSHAKES } from './limits.ts';
import { equalSecrets } from './key-schedule.ts';
import type { ClientHello } from './hello-messages.ts';

/**
 * Which ClientHello a server answers, and how. The first one is answered at once: ICE has shown that the address is the
 * peer's. Any other, while a handshake is under way, must first bring back a cookie (RFC 6347 section 4.2.1): a sender
 * that forges the address of the peer does not see the cookie, and costs one HMAC. At most MAX_HANDSHAKES begin.
 */
export type Verdict =
  /** `proven`: it brought back a cookie. */
  | { readonly kind: 'begin'; readonly proven: boolean }
  /** The one under way again: our flight was lost. */
  | { readonly kind: 'repeated' }
  | { readonly kind: 'verify'; readonly cookie: Buffer }
  | { readonly kind: 'drop' };

export class HelloGate {
  readonly #secret = randomBytes(32);
  #current: Buffer | undefined;
  #begun = 0;
  #credit = HELLO_VERIFY_BURST;
  #creditAtMs: number;

  constructor(nowMs: number) {
    this.#creditAtMs = nowMs;
  }

  /** Handshakes begun. */
  get begun(): number {
    return this.#begun;
  }

  judge(hello: ClientHello, nowMs: number): Verdict {
    if (this.#current?.equals(hello.parameters) === true) return { kind: 'repeated' };
    const proven = equalSecrets(this.#cookie(hello), hello.cookie);
    if (!proven && this.#current !== undefined) return this.#verify(hello, nowMs);
    if (this.#begun >= MAX_HANDSHAKES) return { kind: 'drop' };
    this.#begun += 1;
    this.#current = Buffer.from(hello.parameters);
    return { kind: 'begin', proven };
  }

  /** The ClientHello that may begin without proof is unusable: it may be forged, so it must not end the session. */
  decline(hello: ClientHello, nowMs: number): Verdict {
    this.#begun -= 1;
    this.#current = undefined;
    return this.#verify(hello, nowMs);
  }

  #verify(hello: ClientHello, nowMs: number): Verdict {
    return this.#mayVerify(nowMs) ? { kind: 'verify', cookie: this.#cookie(hello) } : { kind: 'drop' };
  }

  #cookie(hello: ClientHello): Buffer {
    return createHmac('sha256', this.#secret).update(hello.parameters).digest();
  }

  #mayVerify(nowMs: number): boolean {
    const earned = (nowMs - this.#creditAtMs) / HELLO_VERIFY_INTERVAL_MS;
    this.#credit = Math.min(HELLO_VERIFY_BURST, this.#credit + earned);
    this.#creditAtMs = nowMs;
    if (this.#credit < 1) return false;
    this.#credit -= 1;
    return true;
  }
}
