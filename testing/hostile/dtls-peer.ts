import { randomBytes } from 'node:crypto';
import { ClientHandshake } from '../../server/rtc/dtls/client-handshake.ts';
import { writeFlight, type Flight } from '../../server/rtc/dtls/flight.ts';
import { Reassembly, splitFragments, type HandshakeMessage } from '../../server/rtc/dtls/fragments.ts';
import type { Handshake, Step } from '../../server/rtc/dtls/handshake.ts';
import { readClientHello, writeClientHello } from '../../server/rtc/dtls/hello-messages.ts';
import type { OwnCertificate } from '../../server/rtc/dtls/own-certificate.ts';
import { expectedDigests, type Fingerprint } from '../../server/rtc/dtls/peer-certificate.ts';
import { ContentType, HandshakeType } from '../../server/rtc/dtls/protocol.ts';
import { RecordReader, RecordWriter, splitDatagram } from '../../server/rtc/dtls/records.ts';
import { wholeMessage } from '../../server/rtc/dtls/transcript.ts';
import { ServerHandshake } from '../../server/rtc/dtls/server-handshake.ts';
import type { SrtpKeyingMaterial, SrtpProfileName } from '../../server/rtc/dtls/srtp-keys.ts';

export interface HostileDtlsOptions {
  readonly role: 'client' | 'server';
  readonly certificate: OwnCertificate;
  readonly remoteFingerprints: readonly Fingerprint[];
  readonly srtpProfiles?: readonly SrtpProfileName[];
  readonly send: (datagram: Buffer) => void;
  /** What becomes of a flight of ours; undefined: it is not sent. Later messages sign and hash what was meant. */
  readonly tamper?: (flight: Flight, peer: HostileDtlsPeer) => Flight | undefined;
}

/**
 * A DTLS peer that does what a test wants: it has the handshake's real keys, so that a forged message is wrong in one place
 * alone. It repeats nothing and notices nothing.
 */
export class HostileDtlsPeer {
  readonly writer = new RecordWriter();
  keys: SrtpKeyingMaterial | undefined;
  /** Alerts received: [level, description]. */
  readonly alerts: (readonly [number, number])[] = [];
  /** Messages received, by type. */
  readonly received: number[] = [];
  readonly #options: HostileDtlsOptions;
  readonly #parameters;
  readonly #reader = new RecordReader();
  #handshake: Handshake | undefined;
  #messages: Reassembly | undefined;

  constructor(options: HostileDtlsOptions) {
    this.#options = options;
    this.#parameters = {
      certificate: options.certificate,
      expected: expectedDigests(options.remoteFingerprints),
      srtpProfiles: options.srtpProfiles ?? (['AEAD_AES_128_GCM'] as const),
      counters: { asymmetricOperations: 0 },
    };
  }

  start(): void {
    if (this.#options.role !== 'client') return;
    const handshake = new ClientHandshake(this.#parameters);
    this.#begin(handshake, handshake.first, 0);
  }

  receive(datagram: Buffer): void {
    for (const record of splitDatagram(datagram).records) this.#onRecord(this.#reader.open(record));
  }

  /** A record of any type, protected in epoch 1. */
  send(type: number, epoch: 0 | 1, content: Buffer): void {
    this.#options.send(this.writer.write(type, epoch, content));
  }

  sendFlight(flight: Flight): void {
    for (const datagram of writeFlight(flight, this.writer)) this.#options.send(datagram);
  }

  #onRecord(record: ReturnType<RecordReader['open']>): void {
    if (record === undefined) return;
    const { type, content } = record;
    if (type === ContentType.alert) this.alerts.push([content[0] ?? 0, content[1] ?? 0]);
    if (type === ContentType.changeCipherSpec) {
      const protection = this.#handshake?.changeCipherSpec();
      if (protection === undefined) return;
      for (const early of this.#reader.changeCipherSpec(protection)) this.#onRecord(this.#reader.open(early));
    }
    if (type !== ContentType.handshake) return;
    for (const fragment of splitFragments(content).fragments) {
      if (this.#options.role === 'server' && fragment.type === HandshakeType.clientHello) {
        this.#onHello({ ...fragment, body: fragment.bytes });
        continue;
      }
      this.#messages?.add(fragment);
      for (let message = this.#messages?.peek(); message !== undefined; message = this.#messages?.peek()) {
        this.#messages?.take();
        this.received.push(message.type);
        this.#apply(this.#handshake?.receive(message) ?? {});
      }
    }
  }

  #onHello(message: HandshakeMessage): void {
    const handshake = new ServerHandshake(this.#parameters, readClientHello(message.body), message);
    this.#begin(handshake, handshake.first, message.messageSequence + 1);
  }

  #begin(handshake: Handshake, first: Step, nextSequence: number): void {
    this.#handshake = handshake;
    this.#messages = new Reassembly(nextSequence);
    this.#apply(first);
  }

  #apply({ write, flight, connected }: Step): void {
    if (write !== undefined) this.writer.protect(write);
    if (connected !== undefined) this.keys = connected;
    if (flight === undefined) return;
    const { tamper } = this.#options;
    const sent = tamper === undefined ? flight : tamper(flight, this);
    if (sent !== undefined) this.sendFlight(sent);
  }
}

/** The flight with the message of this type changed; the others stay as they are. */
export function withMessage(flight: Flight, type: number, change: (body: Buffer) => Buffer): Flight {
  const changed = (message: HandshakeMessage): HandshakeMessage =>
    message.type === type ? { ...message, body: change(Buffer.from(message.body)) } : message;
  return {
    ...flight,
    messages: flight.messages.map(changed),
    ...(flight.finished === undefined ? {} : { finished: changed(flight.finished) }),
  };
}

/** The flight without the messages of this type, the rest numbered without a gap. */
export function withoutMessage(flight: Flight, type: number): Flight {
  const first = flight.messages[0]?.messageSequence ?? 0;
  const messages = flight.messages
    .filter((message) => message.type !== type)
    .map((message, index) => ({ ...message, messageSequence: first + index }));
  if (flight.finished === undefined) return { ...flight, messages };
  return { ...flight, messages, finished: { ...flight.finished, messageSequence: first + messages.length } };
}

/** One bit changed at this place, counted from the end where negative. */
export function flipBit(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  const index = at < 0 ? copy.length + at : at;
  copy[index] = (copy[index] as number) ^ 1;
  return copy;
}

/** A datagram with the first message of a handshake, with a random of its own. */
export function clientHello(): Buffer {
  const body = writeClientHello({
    random: randomBytes(32),
    cookie: Buffer.alloc(0),
    suites: [0xc02b, 0xc02f],
    extensions: {
      supportedGroups: [29, 23],
      useSrtp: { profiles: [7], mki: Buffer.alloc(0) },
      signatureAlgorithms: [0x0403, 0x0401],
      extendedMasterSecret: true,
    },
  });
  const message = wholeMessage({ type: HandshakeType.clientHello, messageSequence: 0, body });
  return new RecordWriter().write(ContentType.handshake, 0, message);
}
