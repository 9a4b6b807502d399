import { randomBytes, timingSafeEqual } from 'node:crypto';
import type { MonotonicUs } from '../../media/types.ts';
import type { Address } from '../udp-socket.ts';
import { candidatePriority, type Candidate } from './candidates.ts';
import { CandidatePair, type Credentials, type IceBase, type Transaction } from './pair.ts';
import {
  buildCheck,
  buildError,
  buildSuccess,
  hasIntegrity,
  newTransactionId,
  parseStun,
  type StunMessage,
} from './stun.ts';

/**
 * Connectivity checks, nomination and consent of one session (RFC 8445 sections 7 and 8, RFC 7675). Knows no sockets and
 * no timers: datagrams, bases and the time are arguments.
 *
 * What a peer can cause is bounded: MAX_PAIRS pairs; towards an address that has not answered a check, three times the
 * bytes it sent with valid credentials; towards addresses that only a description names, UnsolicitedBounds in the session's
 * life. An error response ends its pair.
 */

export interface ChecksListener {
  /** A pair was selected: the first one, or another. */
  onSelected(): void;
}

export interface CheckCounters {
  checksSent: number;
  requestsReceived: number;
  responsesReceived: number;
  errorsReceived: number;
  /** Not STUN, without this session's integrity, or an answer to nothing. */
  refused: number;
  /** Packets that were not sent because an address had used up its bound. */
  withheld: number;
}

/** A browser with several networks makes a handful. */
export const MAX_PAIRS = 16;

/** What addresses that only a description names may be sent before they have sent anything. */
export interface UnsolicitedBounds {
  /** In the session's life. */
  readonly bytes: number;
  readonly sendsPerPair: number;
}

/** Of a peer that came to us. For a firewall or NAT on our side that opens by what leaves it; the peer repeats its own checks. */
const VISITOR_BOUNDS: UnsolicitedBounds = { bytes: 1024, sendsPerPair: 2 };
/** RFC 8489 section 6.2.1: initial timeout, doubled with each retransmission. */
const RETRANSMIT_US = 500_000;
const MAX_SENDS = 4;
/** One new check at a time (RFC 8445 section 14.2 allows every 5 ms, recommends 50). */
const PACE_US = 20_000;
/** A check of ours that met a closed firewall is repeated as soon as the peer's own check has opened it. */
const REPEAT_US = 100_000;
/** RFC 7675 section 5.1: every 5 s, times 0.8 to 1.2. */
const CONSENT_INTERVAL_US = 5_000_000;
/** Controlling: how long a better pair may still succeed before the best one so far is nominated. */
const NOMINATE_AFTER_US = 500_000;
/** libwebrtc nominates with every check of its selected pair and never on others: two in a row are a change of its mind. */
const NOMINATIONS_TO_SWITCH = 2;

const PEER_REFLEXIVE_PRIORITY = candidatePriority('prflx');

export class ConnectivityChecks {
  readonly counters: CheckCounters = {
    checksSent: 0,
    requestsReceived: 0,
    responsesReceived: 0,
    errorsReceived: 0,
    refused: 0,
    withheld: 0,
  };
  /** Last authenticated answer of the peer, which is what consents to receive (RFC 7675 section 5.1). */
  consentedAtUs: MonotonicUs = 0;
  readonly #listener: ChecksListener;
  readonly #unsolicited: UnsolicitedBounds;
  readonly #tieBreaker = randomBytes(8).readBigUInt64BE();
  readonly #pairs: CandidatePair[] = [];
  #controlling: boolean;
  #roleSwitched = false;
  #current: Credentials | undefined;
  /** Until the next restart: the peer may still check with them. */
  #previous: Credentials | undefined;
  #selected: { readonly pair: CandidatePair; readonly credentials: Credentials } | undefined;
  #challenger: { readonly pair: CandidatePair; nominations: number } | undefined;
  #unsolicitedBytes = 0;
  #startedCheckUs: MonotonicUs = 0;
  #firstSuccessUs: MonotonicUs | undefined;
  #consentDueUs: MonotonicUs = 0;

  constructor(controlling: boolean, listener: ChecksListener, unsolicited = VISITOR_BOUNDS) {
    this.#controlling = controlling;
    this.#listener = listener;
    this.#unsolicited = unsolicited;
  }

  get pairs(): readonly CandidatePair[] {
    return this.#pairs;
  }

  get selected(): CandidatePair | undefined {
    return this.#selected?.pair;
  }

  /** Where to send: the selected pair, before there is one the best that works. */
  get usable(): CandidatePair | undefined {
    return this.#selected?.pair ?? this.#best('succeeded');
  }

  /** The first descriptions, or those of an ICE restart: the selected pair stays until another one is nominated. */
  start(credentials: Credentials, controlling: boolean): void {
    this.#previous = this.#current;
    this.#current = credentials;
    this.#roleSwitched = false;
    if (this.#selected === undefined) this.#controlling = controlling;
    this.#firstSuccessUs = undefined;
    this.#challenger = undefined;
    for (const pair of this.#pairs) pair.reset(pair === this.#selected?.pair);
  }

  /** Pairs an address from a description with all bases. */
  addRemote(candidate: Candidate, bases: readonly IceBase[], nowUs: MonotonicUs): void {
    const address: Address = [candidate.host, candidate.port];
    for (const base of bases) {
      // Controlled, a relay only has to let the peer's checks in.
      if (base.type === 'relay' && !this.#controlling) base.permit?.(candidate.host);
      else if (base.family === (candidate.host.includes(':') ? 6 : 4)) {
        const pair = this.find(base, address) ?? this.#addPair(base, address, candidate.priority, nowUs);
        if (pair === undefined) continue;
        pair.remotePriority = candidate.priority;
        if (pair.state === 'idle') pair.state = 'waiting';
      }
    }
  }

  find(base: IceBase, address: Address): CandidatePair | undefined {
    return this.#pairs.find((pair) => pair.is(base, address));
  }

  receive(data: Buffer, base: IceBase, from: Address, nowUs: MonotonicUs): void {
    const message = parseStun(data);
    const accepted =
      message !== undefined &&
      (message.messageClass === 'request'
        ? this.#onRequest(data, message, base, from, nowUs)
        : this.#onResponse(data, message, base, from, nowUs));
    if (!accepted) this.counters.refused += 1;
  }

  /** To be called every 10 to 50 ms. */
  tick(nowUs: MonotonicUs): void {
    for (const pair of this.#pairs) this.#retransmit(pair, nowUs);
    if (this.#current === undefined) return;
    if (nowUs - this.#startedCheckUs >= PACE_US) {
      const next = this.#best('waiting');
      if (next !== undefined) this.#check(next, 'check', nowUs);
    }
    this.#nominate(nowUs);
    this.#askConsent(nowUs);
  }

  toJSON(): object {
    return {
      role: this.#controlling ? 'controlling' : 'controlled',
      selected: this.#selected?.pair,
      pairs: this.#pairs,
      counters: this.counters,
    };
  }

  /** RFC 8445 section 7.3. @returns whether it was authentic */
  #onRequest(data: Buffer, message: StunMessage, base: IceBase, from: Address, nowUs: MonotonicUs): boolean {
    const ufrag = message.username?.split(':')[0];
    const credentials = [this.#current, this.#previous].find((known) => known?.localUfrag === ufrag);
    if (credentials === undefined || !hasIntegrity(data, message, credentials.localPassword)) return false;
    this.counters.requestsReceived += 1;
    const pair = this.find(base, from) ?? this.#addPair(base, from, message.priority ?? 0, nowUs);
    pair?.received(data.length, nowUs);
    const respond = (response: Buffer) => (pair === undefined ? base.send(response, from) : pair.send(response));
    if (this.#hasRoleConflict(message)) {
      respond(buildError(message.transactionId, 487, credentials.localPassword));
      return true;
    }
    respond(buildSuccess(message.transactionId, from, credentials.localPassword));
    // Checks of the generation before a restart are answered, that is all.
    if (pair === undefined || credentials !== this.#current) return true;
    if (message.useCandidate && !this.#controlling) this.#onNomination(pair, nowUs);
    if (pair === this.#selected?.pair) this.#challenger = undefined;
    this.#trigger(pair, nowUs);
    return true;
  }

  /** RFC 8445 section 7.3.1.1. @returns true when the peer has to change its role; ours changes here */
  #hasRoleConflict({ role }: StunMessage): boolean {
    if (role === undefined || role.controlling !== this.#controlling) return false;
    const wins = this.#tieBreaker >= role.tieBreaker;
    if (wins === this.#controlling) return true;
    this.#switchRole();
    return false;
  }

  #switchRole(): void {
    if (this.#roleSwitched) return; // once for each generation: two agents that keep changing would never end
    this.#roleSwitched = true;
    this.#controlling = !this.#controlling;
  }

  /** RFC 8445 section 7.3.1.5. */
  #onNomination(pair: CandidatePair, nowUs: MonotonicUs): void {
    pair.nominated = true;
    const selected = this.#selected;
    if (pair.state !== 'succeeded' || selected?.pair === pair) {
      if (pair.state === 'succeeded' && selected?.credentials !== this.#current) this.#select(pair, nowUs);
      return;
    }
    if (this.#challenger?.pair !== pair) this.#challenger = { pair, nominations: 0 };
    this.#challenger.nominations += 1;
    const better =
      selected === undefined || selected.credentials !== this.#current || this.#isBetter(pair, selected.pair);
    if (better || this.#challenger.nominations >= NOMINATIONS_TO_SWITCH) this.#select(pair, nowUs);
  }

  #isBetter(pair: CandidatePair, than: CandidatePair): boolean {
    return pair.priority(this.#controlling) > than.priority(this.#controlling);
  }

  /** A check in the other direction (RFC 8445 section 7.3.1.4). */
  #trigger(pair: CandidatePair, nowUs: MonotonicUs): void {
    if (pair.state === 'idle' || pair.state === 'waiting' || pair.state === 'failed') this.#check(pair, 'check', nowUs);
    else if (pair.state === 'checking' && pair.transaction !== undefined) {
      if (nowUs - pair.transaction.sentAtUs >= REPEAT_US && pair.transaction.sends < MAX_SENDS) {
        this.#transmit(pair, pair.transaction, nowUs);
      }
    }
  }

  /** RFC 8445 section 7.2.5. @returns whether it answers a request of ours with the peer's integrity */
  #onResponse(data: Buffer, message: StunMessage, base: IceBase, from: Address, nowUs: MonotonicUs): boolean {
    const pair = this.find(base, from);
    const transaction = pair?.transaction;
    if (pair === undefined || transaction === undefined || message.messageClass === 'indication') return false;
    if (!timingSafeEqual(transaction.id, message.transactionId)) return false;
    const authentic = hasIntegrity(data, message, transaction.credentials.remotePassword);
    if (message.messageClass === 'error') {
      // 400 and 401 come without integrity: knowing the transaction means having seen the check, and only this pair ends.
      this.#onError(pair, transaction, authentic ? message.errorCode : undefined, nowUs);
      return true;
    }
    if (!authentic) return false;
    this.counters.responsesReceived += 1;
    pair.transaction = undefined;
    pair.validated = true;
    pair.received(data.length, nowUs);
    // Of the first transmission: Karn's rule, a repeated request has no known round trip.
    if (transaction.sends === 1) pair.roundTripUs = nowUs - transaction.startedAtUs;
    this.consentedAtUs = nowUs;
    if (transaction.purpose === 'consent' || transaction.credentials !== this.#current) return true;
    pair.state = 'succeeded';
    this.#firstSuccessUs ??= nowUs;
    if (transaction.purpose === 'nomination' || pair.nominated) this.#onValidNomination(pair, nowUs);
    return true;
  }

  #onValidNomination(pair: CandidatePair, nowUs: MonotonicUs): void {
    const selected = this.#selected;
    const first = selected === undefined || selected.credentials !== this.#current;
    if (first || this.#isBetter(pair, selected.pair)) this.#select(pair, nowUs);
  }

  /** RFC 8445 section 7.2.5.1: a role conflict is resolved once; every other error ends the pair. */
  #onError(pair: CandidatePair, transaction: Transaction, code: number | undefined, nowUs: MonotonicUs): void {
    this.counters.errorsReceived += 1;
    pair.transaction = undefined;
    if (code === 487 && !this.#roleSwitched) {
      this.#switchRole();
      this.#check(pair, 'check', nowUs);
    } else if (transaction.purpose !== 'consent' && transaction.credentials === this.#current) {
      pair.state = 'ended';
    }
  }

  #check(pair: CandidatePair, purpose: Transaction['purpose'], nowUs: MonotonicUs): void {
    const credentials = purpose === 'consent' ? this.#selected?.credentials : this.#current;
    if (credentials === undefined) return;
    const id = newTransactionId();
    const request = buildCheck(id, {
      username: `${credentials.remoteUfrag}:${credentials.localUfrag}`,
      password: credentials.remotePassword,
      priority: PEER_REFLEXIVE_PRIORITY,
      controlling: this.#controlling,
      tieBreaker: this.#tieBreaker,
      // Controlling, the consent checks repeat the choice: an ICE-lite peer may have missed it.
      useCandidate: this.#controlling && purpose !== 'check',
    });
    if (purpose === 'check') {
      this.#startedCheckUs = nowUs;
      pair.state = 'checking';
    }
    pair.transaction = { id, request, credentials, purpose, startedAtUs: nowUs, sentAtUs: nowUs, sends: 0 };
    this.#transmit(pair, pair.transaction, nowUs);
  }

  #transmit(pair: CandidatePair, transaction: Transaction, nowUs: MonotonicUs): void {
    transaction.sends += 1;
    transaction.sentAtUs = nowUs;
    const { request } = transaction;
    if (pair.mayReceive(request.length)) pair.send(request);
    // Not counted with the pair: its own bound is for what the peer sends.
    else if (this.#mayAddress(pair, request.length)) pair.base.send(request, pair.address);
    else {
      this.counters.withheld += 1;
      return;
    }
    this.counters.checksSent += 1;
  }

  /** An address that a description names gets a few packets before it has sent any; they are counted here. */
  #mayAddress(pair: CandidatePair, bytes: number): boolean {
    if (pair.receivedBytes > 0 || pair.unsolicited >= this.#unsolicited.sendsPerPair) return false;
    if (this.#unsolicitedBytes + bytes > this.#unsolicited.bytes) return false;
    this.#unsolicitedBytes += bytes;
    pair.unsolicited += 1;
    return true;
  }

  #retransmit(pair: CandidatePair, nowUs: MonotonicUs): void {
    const { transaction } = pair;
    if (transaction === undefined) return;
    const { sends, sentAtUs, purpose } = transaction;
    // RFC 7675 section 5.1: consent checks are not retransmitted, the next one replaces this.
    if (purpose === 'consent') return;
    if (nowUs - sentAtUs < RETRANSMIT_US * 2 ** Math.max(0, sends - 1)) return;
    if (sends < MAX_SENDS) {
      this.#transmit(pair, transaction, nowUs);
      return;
    }
    pair.transaction = undefined;
    pair.state = 'failed';
  }

  /** Controlling: regular nomination (RFC 8445 section 8.1.1) of the best pair, one at a time. */
  #nominate(nowUs: MonotonicUs): void {
    if (!this.#controlling || this.#firstSuccessUs === undefined) return;
    if (this.#selected !== undefined && this.#selected.credentials === this.#current) return;
    if (this.#pairs.some(({ transaction }) => transaction?.purpose === 'nomination')) return;
    const best = this.#best('succeeded');
    if (best === undefined) return;
    const undecided = this.#pairs.some(
      (pair) => (pair.state === 'waiting' || pair.state === 'checking') && this.#isBetter(pair, best),
    );
    if (!undecided || nowUs - this.#firstSuccessUs >= NOMINATE_AFTER_US) this.#check(best, 'nomination', nowUs);
  }

  #askConsent(nowUs: MonotonicUs): void {
    const pair = this.#selected?.pair;
    if (pair === undefined || nowUs < this.#consentDueUs) return;
    this.#consentDueUs = nowUs + CONSENT_INTERVAL_US * (0.8 + 0.4 * Math.random());
    // The answer to a check under way is consent as well.
    if (pair.transaction === undefined || pair.transaction.purpose === 'consent') this.#check(pair, 'consent', nowUs);
  }

  #select(pair: CandidatePair, nowUs: MonotonicUs): void {
    const credentials = this.#current;
    if (credentials === undefined) return;
    this.#selected = { pair, credentials };
    this.#challenger = undefined;
    this.#consentDueUs = nowUs + CONSENT_INTERVAL_US;
    // RFC 8445 section 8.1.2: checks that have not begun are pointless now; the peer can still trigger them.
    for (const other of this.#pairs) if (other.state === 'waiting') other.state = 'failed';
    this.#listener.onSelected();
  }

  #best(state: CandidatePair['state']): CandidatePair | undefined {
    let best: CandidatePair | undefined;
    for (const pair of this.#pairs) {
      if (pair.state === state && (best === undefined || this.#isBetter(pair, best))) best = pair;
    }
    return best;
  }

  /** @returns undefined when every pair is worth more than a new one */
  #addPair(base: IceBase, address: Address, remotePriority: number, nowUs: MonotonicUs): CandidatePair | undefined {
    if (this.#pairs.length >= MAX_PAIRS) {
      const idle = this.#pairs
        .filter((pair) => !pair.validated && pair !== this.#selected?.pair)
        .sort((a, b) => a.lastReceivedUs - b.lastReceivedUs)[0];
      if (idle === undefined) return undefined;
      this.#pairs.splice(this.#pairs.indexOf(idle), 1);
    }
    const pair = new CandidatePair(base, address, remotePriority, nowUs);
    this.#pairs.push(pair);
    return pair;
  }
}
