import type { MonotonicUs } from '../../media/types.ts';
import type { Address } from '../udp-socket.ts';

/** A local end of paths: one of our sockets, or a TURN relay. */
export interface IceBase {
  readonly id: number;
  readonly type: 'host' | 'relay';
  readonly family: 4 | 6;
  /** Of its candidate (RFC 8445 section 5.1.2). */
  readonly priority: number;
  send(datagram: Buffer, to: Address): void;
  /** Lets packets of this address through; a relay drops others (RFC 8656 section 9). */
  permit?(host: string): void;
}

export interface Credentials {
  readonly localUfrag: string;
  readonly localPassword: string;
  readonly remoteUfrag: string;
  readonly remotePassword: string;
}

/**
 * `idle`: to be checked when the peer checks it, or names it again. `ended`: the peer answered a check with an error;
 * nothing but an ICE restart revives the pair.
 */
export type PairState = 'idle' | 'waiting' | 'checking' | 'succeeded' | 'failed' | 'ended';

/** An outstanding request. A retransmission repeats its bytes (RFC 8489 section 6.2.1). */
export interface Transaction {
  readonly id: Buffer;
  readonly request: Buffer;
  readonly credentials: Credentials;
  readonly purpose: 'check' | 'nomination' | 'consent';
  readonly startedAtUs: MonotonicUs;
  sentAtUs: MonotonicUs;
  sends: number;
}

/** RFC 9000 section 8.1 has the same rule: what comes back to an unproven address is at most this many times what it sent. */
export const MAX_AMPLIFICATION = 3;

/** A base and a remote address. */
export class CandidatePair {
  readonly base: IceBase;
  readonly address: Address;
  /** The remote candidate's, from its description or from PRIORITY in the peer's check. */
  remotePriority: number;
  state: PairState = 'waiting';
  /** The peer, controlling, has chosen this pair. */
  nominated = false;
  /** The address has answered a check: packets to it reach someone who agreed to receive them. */
  validated = false;
  transaction: Transaction | undefined;
  receivedBytes = 0;
  sentBytes = 0;
  /** Checks sent because a description named the address, in the session's life. */
  unsolicited = 0;
  lastReceivedUs: MonotonicUs;
  roundTripUs: number | undefined;

  constructor(base: IceBase, address: Address, remotePriority: number, nowUs: MonotonicUs) {
    this.base = base;
    this.address = address;
    this.remotePriority = remotePriority;
    this.lastReceivedUs = nowUs;
  }

  is(base: IceBase, [host, port]: Address): boolean {
    return this.base === base && this.address[1] === port && this.address[0] === host;
  }

  /** RFC 8445 section 6.1.2.3; exact enough for an order although doubles have 53 bits. */
  priority(controlling: boolean): number {
    const [mine, theirs] = [this.base.priority, this.remotePriority];
    const [controllingSide, controlledSide] = controlling ? [mine, theirs] : [theirs, mine];
    const tie = controllingSide > controlledSide ? 1 : 0;
    return 2 ** 32 * Math.min(mine, theirs) + 2 * Math.max(mine, theirs) + tie;
  }

  received(bytes: number, nowUs: MonotonicUs): void {
    this.receivedBytes += bytes;
    this.lastReceivedUs = nowUs;
  }

  /** Within the amplification bound. */
  mayReceive(bytes: number): boolean {
    return this.validated || this.sentBytes + bytes <= MAX_AMPLIFICATION * this.receivedBytes;
  }

  send(datagram: Buffer): void {
    this.sentBytes += datagram.length;
    this.base.send(datagram, this.address);
  }

  /**
   * For an ICE restart: only the selected pair, which is in use, remains proved. Restarting would otherwise send checks to
   * every address that ever took part.
   */
  reset(selected: boolean): void {
    this.state = selected ? 'waiting' : 'idle';
    this.nominated = false;
    this.transaction = undefined;
    if (selected) return;
    this.validated = false;
    this.receivedBytes = 0;
    this.sentBytes = 0;
  }

  toJSON(): object {
    const { state, nominated, validated, receivedBytes, sentBytes, roundTripUs } = this;
    return {
      base: this.base.type,
      remote: `${this.address[0]} ${this.address[1]}`,
      state,
      nominated,
      validated,
      receivedBytes,
      sentBytes,
      roundTripUs,
    };
  }
}
