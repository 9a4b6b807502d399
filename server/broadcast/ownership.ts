import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { AppError } from '../errors.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { Intake } from './intake.ts';

/** What a publisher shows of its right to the name. */
export interface Right {
  readonly token: string | undefined;
  /**
   * `issued`: a free name gets a token of the server's; one that the publisher has from an earlier time, or made in that form,
   * stays its own, so that a program that was given it can go on using it. `own`: the publisher's own secret (WHIP's bearer token) is the name's;
   * without one nothing could prove that the same publisher comes back, so the name is not kept for it.
   */
  readonly kind: 'issued' | 'own';
}

/** Who holds the name. */
type Owner =
  | { readonly kind: 'free' }
  /**
   * `proven`: a picture has come under this token. Only then is the name worth keeping for its return.
   * `returns`: the publisher knows the token.
   */
  | {
      readonly kind: 'publishing';
      readonly token: string;
      readonly intake: Intake;
      readonly proven: boolean;
      readonly returns: boolean;
    }
  /** The source is gone; the name and the pipeline are kept for its return. */
  | { readonly kind: 'reserved'; readonly token: string; readonly untilUs: MonotonicUs };

/** 24 random bytes in base64url: the length keeps a page from choosing a token that can be guessed. */
const ISSUED_FORM = /^[\w-]{32}$/;

/** Who may bring frames under a broadcast's name, and for how long it is kept. */
export class Ownership {
  readonly #name: string;
  #owner: Owner = { kind: 'free' };
  /** Token of the pulled source that the name belongs to without a time limit. */
  #keptFor: string | undefined;

  constructor(name: string) {
    this.#name = name;
  }

  get kind(): Owner['kind'] {
    return this.#owner.kind;
  }
  get intake(): Intake | undefined {
    return this.#owner.kind === 'publishing' ? this.#owner.intake : undefined;
  }
  get reservedUntilUs(): MonotonicUs | undefined {
    return this.#owner.kind === 'reserved' ? this.#owner.untilUs : undefined;
  }

  get kept(): boolean {
    return this.#keptFor !== undefined;
  }

  /**
   * The name belongs to this token's owner from now on, whether its source is there or not.
   * @param token undefined: no longer
   * @throws AppError broadcast.nameTaken
   */
  keepFor(token: string | undefined): void {
    if (token !== undefined) this.check(token);
    this.#keptFor = token;
  }

  /** @throws AppError broadcast.nameTaken */
  check(token: string | undefined): void {
    const owner = this.#owner;
    const kept = this.#keptFor;
    const mayTake = kept === undefined || (token !== undefined && equal(kept, token));
    const mayReplace = owner.kind === 'free' || (token !== undefined && equal(owner.token, token));
    if (mayTake && mayReplace) return;
    throw new AppError('broadcast.nameTaken', `The name "${this.#name}" belongs to another publisher.`, {
      context: { name: this.#name },
    });
  }

  /**
   * The caller has checked the token.
   * @returns the name's token, whether it was free before, and the source that was replaced
   */
  takeOver(
    intake: Intake,
    right: Right,
  ): {
    readonly token: string;
    readonly wasFree: boolean;
    readonly replaced: Intake | undefined;
  } {
    const before = this.#owner;
    const brought = right.kind === 'own' || ISSUED_FORM.test(right.token ?? '') ? right.token : undefined;
    const token = before.kind === 'free' ? (brought ?? randomBytes(24).toString('base64url')) : before.token;
    const proven = before.kind === 'reserved' || (before.kind === 'publishing' && before.proven);
    const returns = right.kind === 'issued' || right.token !== undefined;
    this.#owner = { kind: 'publishing', token, intake, proven, returns };
    return {
      token,
      wasFree: before.kind === 'free',
      replaced: before.kind === 'publishing' ? before.intake : undefined,
    };
  }

  /** A picture has come from the present source. */
  prove(): void {
    if (this.#owner.kind === 'publishing') this.#owner = { ...this.#owner, proven: true };
  }

  /** The present source has left. @param keepUntilUs undefined: the name is free at once */
  release(keepUntilUs: MonotonicUs | undefined): void {
    const owner = this.#owner;
    if (owner.kind !== 'publishing') return;
    this.#owner =
      keepUntilUs === undefined || !owner.proven || !owner.returns
        ? { kind: 'free' }
        : { kind: 'reserved', token: owner.token, untilUs: keepUntilUs };
  }

  /** @returns true when a reservation ended now */
  expire(nowUs: MonotonicUs): boolean {
    if (this.#owner.kind !== 'reserved' || nowUs <= this.#owner.untilUs) return false;
    this.#owner = { kind: 'free' };
    return true;
  }

  clear(): void {
    this.#owner = { kind: 'free' };
  }
}

/** By digests, so that the time it takes depends on neither token, nor on their lengths. */
function equal(a: string, b: string): boolean {
  return timingSafeEqual(digestOf(a), digestOf(b));
}

function digestOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}
