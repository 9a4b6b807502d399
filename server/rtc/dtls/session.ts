import type { AppError } from '../../errors.ts';
import { readAlert } from './alerts.ts';
import { ClientHandshake } from './client-handshake.ts';
import { systemClock, type Clock } from './clock.ts';
import { asFailure, DtlsFailure, MalformedBytes, toAppError } from './failure.ts';
import { writeFlight, type Flight } from './flight.ts';
import { Reassembly, splitFragments, type Fragment, type HandshakeMessage } from './fragments.ts';
import type { Handshake, HandshakeParameters, Step } from './handshake.ts';
import { HelloGate, type Verdict } from './hello-gate.ts';
import { HelloReassembly } from './hello-reassembly.ts';
import { readClientHello, writeHelloVerifyRequest, type ClientHello } from './hello-messages.ts';
import { HANDSHAKE_WITHIN_MS, MAX_DROPPED_MESSAGES, UNAUTHENTICATED_ALERT_GRACE_MS } from './limits.ts';
import type { OwnCertificate } from './own-certificate.ts';
import { expectedDigests, type Fingerprint } from './peer-certificate.ts';
import { AlertDescription, AlertLevel, ContentType, HandshakeType, VERSION_1_0, type AlertName } from './protocol.ts';
import { RecordReader, RecordWriter, splitDatagram, type OpenRecord } from './records.ts';
import { Retransmission } from './retransmission.ts';
import { ServerHandshake } from './server-handshake.ts';
import type { MasterKey, SrtpKeyingMaterial, SrtpProfileName } from './srtp-keys.ts';

/**
 * DTLS 1.2 for SRTP (RFC 6347, RFC 5764) over any datagrams, both sides authenticated by the fingerprints of their
 * descriptions. Knows no socket, no ICE and no media. Runs on the thread that calls it; nothing here waits.
 */

export interface DtlsKeys<Profile extends SrtpProfileName = SrtpProfileName> {
  readonly profile: Profile;
  readonly local: MasterKey;
  readonly remote: MasterKey;
}

export interface DtlsListener<Profile extends SrtpProfileName = SrtpProfileName> {
  /** The peer is who its description says, and both sides saw the same handshake. */
  onConnected(keys: DtlsKeys<Profile>): void;
  /** The peer closed the session. */
  onClosed(): void;
  /** The handshake or the session failed; nothing follows. */
  onFailed(error: AppError): void;
}

export interface DtlsOptions<Profile extends SrtpProfileName = SrtpProfileName> {
  readonly role: 'server' | 'client';
  readonly certificate: OwnCertificate;
  /** Of the peer's description; at least one must be of SHA-256 or better. */
  readonly remoteFingerprints: readonly Fingerprint[];
  /** In order of preference. */
  readonly srtpProfiles: readonly Profile[];
  readonly send: (datagram: Buffer) => void;
  readonly listener: DtlsListener<Profile>;
  /** Of the path, for the first retransmission; left out or undefined, FIRST_RETRANSMIT_MS. */
  readonly roundTripMs?: () => number | undefined;
  readonly clock?: Clock;
}

export type DtlsState = 'new' | 'handshake' | 'connected' | 'closed';

export interface DtlsCounters {
  /** Records and fragments that were dropped: not whole, not authentic, replayed, out of place, too many. */
  refused: number;
  /** Key pairs, agreements, signatures made and verified. */
  asymmetricOperations: number;
  handshakes: number;
  helloVerifyRequests: number;
  /** Datagrams of flights that were sent before. */
  repeatedFlights: number;
}

export class DtlsSession<Profile extends SrtpProfileName = SrtpProfileName> {
  readonly counters: DtlsCounters = {
    refused: 0,
    asymmetricOperations: 0,
    handshakes: 0,
    helloVerifyRequests: 0,
    repeatedFlights: 0,
  };
  readonly #options: DtlsOptions<Profile>;
  readonly #clock: Clock;
  readonly #parameters: HandshakeParameters;
  readonly #reader = new RecordReader();
  readonly #writer = new RecordWriter();
  readonly #retransmission: Retransmission;
  readonly #gate: HelloGate;
  #state: DtlsState = 'new';
  #handshake: Handshake | undefined;
  #messages: Reassembly | undefined;
  readonly #hellos = new HelloReassembly();
  #droppedMessages = 0;
  #lastDrop = '';
  #progress = 0;
  #sentFlight: Flight | undefined;
  #refusedRenegotiation = false;
  #cancelDeadline: (() => void) | undefined;
  #cancelGrace: (() => void) | undefined;

  /** @throws AppError sdp.invalid when no fingerprint is usable */
  constructor(options: DtlsOptions<Profile>) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    const { certificate, srtpProfiles } = options;
    const expected = expectedDigests(options.remoteFingerprints);
    this.#parameters = { certificate, expected, srtpProfiles, counters: this.counters };
    this.#retransmission = new Retransmission(
      this.#clock,
      (flight) => this.#transmit(flight),
      () => options.roundTripMs?.(),
    );
    this.#gate = new HelloGate(this.#clock.nowMs());
  }

  get state(): DtlsState {
    return this.#state;
  }

  /** A client sends its ClientHello, a server begins to listen; both have HANDSHAKE_WITHIN_MS from now. */
  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'handshake';
    this.#cancelDeadline = this.#clock.after(HANDSHAKE_WITHIN_MS, () => this.#onDeadline());
    if (this.#options.role !== 'client') return;
    const handshake = new ClientHandshake(this.#parameters);
    this.#begin(handshake, handshake.first, 0);
  }

  /** A datagram of unknown origin. Never throws. @returns false when no record of it may count */
  receive(datagram: Buffer): boolean {
    const { records, refused } = splitDatagram(datagram);
    this.counters.refused += refused;
    let counts = false;
    for (const record of records) {
      const open = this.#reader.open(record);
      counts ||= open !== undefined;
      this.#onRecord(open);
    }
    return counts;
  }

  /** Says goodbye (RFC 5246 section 7.2.1). Idempotent; no event follows. */
  close(): void {
    if (this.#state === 'connected') this.#sendAlert(AlertLevel.warning, 'close_notify');
    this.#end();
  }

  #onRecord(record: OpenRecord | undefined): void {
    if (this.#state !== 'handshake' && this.#state !== 'connected') return;
    if (record === undefined) {
      this.counters.refused += 1;
      return;
    }
    try {
      if (record.type === ContentType.handshake) this.#onHandshake(record.content);
      else if (record.type === ContentType.changeCipherSpec) this.#onChangeCipherSpec(record.content);
      else if (record.type === ContentType.alert) this.#onAlert(record);
      else this.counters.refused += 1; // application data: SRTP has its own packets
    } catch (error) {
      this.#fail(asFailure(error));
    }
  }

  #onHandshake(content: Buffer): void {
    const { fragments, refused } = splitFragments(content);
    this.counters.refused += refused;
    for (const fragment of fragments) {
      if (this.#state === 'connected') this.#onLateFragment(fragment);
      else if (this.#state !== 'handshake') return;
      else if (fragment.type === HandshakeType.clientHello) this.#onHelloFragment(fragment);
      else this.#onFragment(fragment);
    }
  }

  #onFragment(fragment: Fragment): void {
    const messages = this.#messages;
    const kept = messages?.add(fragment) ?? 'refused';
    if (kept === 'old') this.#retransmission.peerRepeats();
    if (kept !== 'kept') this.counters.refused += 1;
    while (this.#state === 'handshake' && this.#messages !== undefined) {
      const message = this.#messages.peek();
      if (message === undefined || !this.#onMessage(message, this.#messages)) return;
    }
  }

  /** @returns false when the message was dropped */
  #onMessage(message: HandshakeMessage, messages: Reassembly): boolean {
    let step: Step | undefined;
    let why = `message type ${message.type} is not due`;
    try {
      step = this.#handshake?.receive(message);
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error;
      why = `message type ${message.type} is malformed: ${error.message}`;
    }
    if (step === undefined) {
      messages.drop();
      this.#dropped(why);
      return false;
    }
    messages.take();
    this.#progress += 1;
    this.#apply(step);
    return true;
  }

  /** The message may be forged, so one does not end the handshake; a peer that repeats it does. */
  #dropped(why: string): void {
    this.counters.refused += 1;
    this.#droppedMessages += 1;
    this.#lastDrop = why;
    if (this.#droppedMessages < MAX_DROPPED_MESSAGES) return;
    throw new DtlsFailure('unexpected_message', 'malformed', `The peer does not speak DTLS 1.2: ${why}.`);
  }

  #onHelloFragment(fragment: Fragment): void {
    // Once the peer's ChangeCipherSpec has come, a ClientHello would be a renegotiation.
    const due = this.#options.role === 'server' && this.#reader.epoch === 0;
    const message = due ? this.#hellos.add(fragment) : 'refused';
    if (message === 'refused') this.counters.refused += 1;
    else if (message !== undefined) this.#onHello(message);
  }

  #onHello(message: HandshakeMessage): void {
    let hello;
    try {
      hello = readClientHello(message.body);
    } catch (error) {
      if (!(error instanceof MalformedBytes)) throw error;
      this.counters.refused += 1;
      this.#lastDrop = `the ClientHello is malformed: ${error.message}`;
      return;
    }
    this.#follow(this.#gate.judge(hello, this.#clock.nowMs()), hello, message);
  }

  #follow(verdict: Verdict, hello: ClientHello, message: HandshakeMessage): void {
    const { messageSequence } = message;
    if (verdict.kind === 'begin') {
      let handshake;
      try {
        handshake = new ServerHandshake(this.#parameters, hello, message);
      } catch (error) {
        if (verdict.proven) throw error;
        this.#lastDrop = error instanceof Error ? error.message : String(error);
        this.#follow(this.#gate.decline(hello, this.#clock.nowMs()), hello, message);
        return;
      }
      this.#begin(handshake, handshake.first, messageSequence + 1);
    } else if (verdict.kind === 'repeated') {
      this.#retransmission.peerRepeats();
    } else if (verdict.kind === 'verify') {
      this.counters.helloVerifyRequests += 1;
      const body = writeHelloVerifyRequest(verdict.cookie);
      const request = { type: HandshakeType.helloVerifyRequest, messageSequence, body };
      this.#write({ messages: [request], recordVersion: VERSION_1_0 });
    } else {
      this.counters.refused += 1;
    }
  }

  /** @param nextSequence message_seq of the peer's next message */
  #begin(handshake: Handshake, first: Step, nextSequence: number): void {
    this.counters.handshakes += 1;
    this.#progress += 1;
    this.#handshake = handshake;
    this.#messages = new Reassembly(nextSequence);
    this.#reader.reset();
    this.#apply(first);
  }

  #apply({ write, flight, connected }: Step): void {
    if (write !== undefined) this.#writer.protect(write);
    if (flight !== undefined) this.#retransmission.send(flight, connected !== undefined);
    if (connected === undefined) return;
    if (flight === undefined) this.#retransmission.stop();
    this.#connected(connected);
  }

  #connected({ profile, client, server }: SrtpKeyingMaterial): void {
    const ours = this.#options.srtpProfiles.find((own) => own === profile);
    if (ours === undefined) throw new Error(`${profile} is not one of ours`);
    this.#state = 'connected';
    this.#stopClocks();
    this.#messages = undefined;
    this.#handshake = undefined;
    const [local, remote] = this.#options.role === 'client' ? [client, server] : [server, client];
    this.#options.listener.onConnected({ profile: ours, local, remote });
  }

  /** Counts only behind all messages before it: early, late or repeated it changes nothing (CVE-2014-0224). */
  #onChangeCipherSpec(content: Buffer): void {
    const due = content.length === 1 && content[0] === 1 && this.#reader.epoch === 0;
    const protection = due ? this.#handshake?.changeCipherSpec() : undefined;
    if (protection === undefined) {
      this.counters.refused += 1;
      return;
    }
    this.#progress += 1;
    // Finished must come protected: what lies here in clear text is not it.
    if (this.#messages !== undefined) this.#messages = new Reassembly(this.#messages.next);
    for (const record of this.#reader.changeCipherSpec(protection)) this.#onRecord(this.#reader.open(record));
  }

  /** After the handshake, and authentic: our last flight was lost, or the peer wants to renegotiate. */
  #onLateFragment({ type }: Fragment): void {
    if (type === HandshakeType.finished && this.#options.role === 'server') {
      this.#retransmission.peerRepeats();
      return;
    }
    this.counters.refused += 1;
    if (type !== HandshakeType.clientHello && type !== HandshakeType.helloRequest) return;
    if (this.#refusedRenegotiation) return;
    this.#refusedRenegotiation = true;
    this.#sendAlert(AlertLevel.warning, 'no_renegotiation');
  }

  #onAlert({ content, authentic }: OpenRecord): void {
    const alert = readAlert(content);
    if (alert === 'malformed') this.counters.refused += 1;
    if (alert === 'malformed' || alert === 'warning') return;
    if (!authentic) {
      this.#waitAfterAlert(alert.failure);
    } else if (alert.closing && this.#state === 'connected') {
      this.close();
      this.#options.listener.onClosed();
    } else {
      this.#fail(alert.failure);
    }
  }

  /** An alert in clear text may be forged: it counts only if the handshake then stands still. */
  #waitAfterAlert(failure: DtlsFailure): void {
    if (this.#cancelGrace !== undefined) return;
    const progress = this.#progress;
    this.#cancelGrace = this.#clock.after(UNAUTHENTICATED_ALERT_GRACE_MS, () => {
      this.#cancelGrace = undefined;
      if (this.#progress === progress) this.#fail(failure);
    });
  }

  #onDeadline(): void {
    const waited = this.#handshake === undefined ? 'no ClientHello came' : `it stands after ${this.#progress} steps`;
    const why = this.#lastDrop === '' ? waited : `${waited}, and ${this.#lastDrop}`;
    const seconds = HANDSHAKE_WITHIN_MS / 1000;
    this.#fail(
      new DtlsFailure('handshake_failure', 'timeout', `The DTLS handshake did not end within ${seconds} s: ${why}.`),
    );
  }

  #fail(failure: DtlsFailure): void {
    if (this.#state === 'closed') return;
    if (failure.reason !== 'peerAlert') this.#sendAlert(AlertLevel.fatal, failure.alert);
    this.#end();
    this.#options.listener.onFailed(toAppError(failure));
  }

  #end(): void {
    this.#state = 'closed';
    this.#stopClocks();
    this.#retransmission.stop();
    this.#handshake = undefined;
    this.#messages = undefined;
    this.#hellos.clear();
  }

  #stopClocks(): void {
    this.#cancelDeadline?.();
    this.#cancelGrace?.();
  }

  #transmit(flight: Flight): void {
    if (this.#sentFlight === flight) this.counters.repeatedFlights += 1;
    this.#sentFlight = flight;
    this.#write(flight);
  }

  #write(flight: Flight): void {
    for (const datagram of writeFlight(flight, this.#writer)) this.#options.send(datagram);
  }

  #sendAlert(level: number, name: AlertName): void {
    const content = Buffer.from([level, AlertDescription[name]]);
    this.#options.send(this.#writer.write(ContentType.alert, this.#writer.secure ? 1 : 0, content));
  }
}
