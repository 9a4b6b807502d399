import { randomBytes } from 'node:crypto';
import { UNCOMPRESSED_ONLY } from './extensions.ts';
import { DtlsFailure } from './failure.ts';
import type { HandshakeMessage } from './fragments.ts';
import type { Handshake, HandshakeParameters, Step } from './handshake.ts';
import { readHelloVerifyRequest, readServerHello, writeClientHello, type ServerHello } from './hello-messages.ts';
import {
  readCertificateRequest,
  readCertificates,
  readServerKeyExchange,
  writeCertificates,
  writeCertificateVerify,
  writeClientKeyExchange,
} from './key-messages.ts';
import { equalSecrets, KeySchedule } from './key-schedule.ts';
import { createKeyShare, GROUPS } from './key-shares.ts';
import { MAX_COOKIES } from './limits.ts';
import { readPeerCertificate, type PeerCertificate } from './peer-certificate.ts';
import {
  EMPTY_RENEGOTIATION_INFO_SCSV,
  ExtensionType,
  HandshakeType,
  NAMED_CURVE,
  NULL_COMPRESSION,
  RANDOM_BYTES,
  UNCOMPRESSED_POINT,
  VERSION_1_0,
  VERSION_1_2,
} from './protocol.ts';
import type { RecordProtection } from './record-protection.ts';
import { chooseScheme, SIGNATURE_SCHEMES, signingKeyType, signWith, verifyWith } from './signatures.ts';
import { chooseProfile, profileIds, srtpKeys, type SrtpProfileName } from './srtp-keys.ts';
import { SUITES, type CipherSuite } from './suites.ts';
import { Transcript } from './transcript.ts';

/** Extensions of our ClientHello: a server may answer these and no others (RFC 5246 section 7.4.1.4). */
const OFFERED = new Set<number>([
  ExtensionType.supportedGroups,
  ExtensionType.pointFormats,
  ExtensionType.signatureAlgorithms,
  ExtensionType.useSrtp,
  ExtensionType.extendedMasterSecret,
  ExtensionType.renegotiationInfo,
]);
/** certificate_types of a CertificateRequest. */
const CERTIFICATE_TYPE = { ec: 64, rsa: 1 } as const;

/** What the ServerHello settled. */
interface Agreement {
  readonly suite: CipherSuite;
  readonly profile: SrtpProfileName;
  readonly serverRandom: Buffer;
}
interface KeyOffer {
  readonly group: number;
  readonly publicKey: Buffer;
}

/** What our second flight answers. */
interface Answer {
  readonly agreed: Agreement;
  readonly offer: KeyOffer;
  /** Of our CertificateVerify; undefined: the server does not ask for a certificate. */
  readonly scheme?: number;
}

type State =
  | { readonly at: 'serverHello' }
  | { readonly at: 'certificate'; readonly agreed: Agreement }
  | { readonly at: 'serverKeyExchange'; readonly agreed: Agreement; readonly peer: PeerCertificate }
  | { readonly at: 'certificateRequest'; readonly agreed: Agreement; readonly offer: KeyOffer }
  | ({ readonly at: 'serverHelloDone' } & Answer)
  | { readonly at: 'changeCipherSpec' | 'finished'; readonly agreed: Agreement; readonly schedule: KeySchedule }
  | { readonly at: 'done' };

/** The client's half (RFC 5246 section 7.3). */
export class ClientHandshake implements Handshake {
  readonly #parameters: HandshakeParameters;
  readonly #clientRandom = randomBytes(RANDOM_BYTES);
  #transcript = new Transcript();
  #state: State = { at: 'serverHello' };
  #nextSequence = 0;
  #cookies = 0;
  /** The ClientHello. */
  readonly first: Step;

  constructor(parameters: HandshakeParameters) {
    this.#parameters = parameters;
    this.first = this.#hello(Buffer.alloc(0));
  }

  receive(message: HandshakeMessage): Step | undefined {
    const state = this.#state;
    switch (state.at) {
      case 'serverHello':
        if (message.type === HandshakeType.helloVerifyRequest) return this.#onHelloVerifyRequest(message);
        return message.type === HandshakeType.serverHello ? this.#onServerHello(message) : undefined;
      case 'certificate':
        if (message.type !== HandshakeType.certificate) return undefined;
        return this.#onCertificate(message, state.agreed);
      case 'serverKeyExchange':
        if (message.type !== HandshakeType.serverKeyExchange) return undefined;
        return this.#onKeyExchange(message, state.agreed, state.peer);
      case 'certificateRequest':
        return this.#onCertificateRequest(message, state.agreed, state.offer);
      case 'serverHelloDone':
        if (message.type !== HandshakeType.serverHelloDone) return undefined;
        return this.#onHelloDone(message, state);
      case 'finished':
        if (message.type !== HandshakeType.finished) return undefined;
        return this.#onFinished(message, state.agreed, state.schedule);
      default:
        return undefined;
    }
  }

  changeCipherSpec(): RecordProtection | undefined {
    if (this.#state.at !== 'changeCipherSpec') return undefined;
    const { agreed, schedule } = this.#state;
    this.#state = { at: 'finished', agreed, schedule };
    return schedule.protections().server;
  }

  #hello(cookie: Buffer): Step {
    const body = writeClientHello({
      random: this.#clientRandom,
      cookie,
      suites: [...SUITES.map(({ id }) => id), EMPTY_RENEGOTIATION_INFO_SCSV],
      extensions: {
        extendedMasterSecret: true,
        supportedGroups: GROUPS,
        pointFormats: UNCOMPRESSED_ONLY,
        signatureAlgorithms: SIGNATURE_SCHEMES,
        useSrtp: { profiles: profileIds(this.#parameters.srtpProfiles), mki: Buffer.alloc(0) },
      },
    });
    return { flight: { messages: [this.#own(HandshakeType.clientHello, body)], recordVersion: VERSION_1_0 } };
  }

  /** Neither the first ClientHello nor this message belong to the transcript (RFC 6347 section 4.2.1). */
  #onHelloVerifyRequest(message: HandshakeMessage): Step | undefined {
    const { cookie } = readHelloVerifyRequest(message.body);
    if (this.#cookies >= MAX_COOKIES) return undefined;
    this.#cookies += 1;
    this.#transcript = new Transcript();
    return this.#hello(cookie);
  }

  #onServerHello(message: HandshakeMessage): Step {
    const hello = readServerHello(message.body);
    const agreed = { ...acceptServerHello(hello, this.#parameters), serverRandom: Buffer.from(hello.random) };
    this.#transcript.add(message);
    this.#state = { at: 'certificate', agreed };
    return {};
  }

  #onCertificate(message: HandshakeMessage, agreed: Agreement): Step {
    const peer = readPeerCertificate(readCertificates(message.body), this.#parameters.expected);
    if (peer.keyType !== agreed.suite.keyType) {
      throw new DtlsFailure(
        'illegal_parameter',
        'certificateUnusable',
        `The certificate of the peer does not fit ${agreed.suite.name}.`,
      );
    }
    this.#transcript.add(message);
    this.#state = { at: 'serverKeyExchange', agreed, peer };
    return {};
  }

  /** RFC 8422 section 5.4: the server signs its share, and both randoms, with the key of its certificate. */
  #onKeyExchange(message: HandshakeMessage, agreed: Agreement, peer: PeerCertificate): Step {
    const exchange = readServerKeyExchange(message.body);
    if (exchange.curveType !== NAMED_CURVE || !GROUPS.includes(exchange.group)) {
      throw new DtlsFailure('illegal_parameter', 'illegalParameter', 'The peer chose a group that was not offered.');
    }
    const signed = Buffer.concat([this.#clientRandom, agreed.serverRandom, exchange.parameters]);
    this.#parameters.counters.asymmetricOperations += 1;
    if (!verifyWith(exchange.scheme, peer.publicKey, signed, exchange.signature)) {
      throw new DtlsFailure(
        'decrypt_error',
        'badServerKeyExchange',
        'The peer did not sign its key exchange with the key of its certificate.',
      );
    }
    this.#transcript.add(message);
    const offer = { group: exchange.group, publicKey: Buffer.from(exchange.publicKey) };
    this.#state = { at: 'certificateRequest', agreed, offer };
    return {};
  }

  #onCertificateRequest(message: HandshakeMessage, agreed: Agreement, offer: KeyOffer): Step | undefined {
    // FFmpeg's WHIP muxer asks for none. That is its risk alone: this side has authenticated the server either way.
    if (message.type === HandshakeType.serverHelloDone) return this.#onHelloDone(message, { agreed, offer });
    if (message.type !== HandshakeType.certificateRequest) return undefined;
    const request = readCertificateRequest(message.body);
    const keyType = signingKeyType(this.#parameters.certificate.privateKey) ?? 'rsa';
    const scheme = chooseScheme(request.schemes, keyType);
    if (scheme === undefined || !request.types.includes(CERTIFICATE_TYPE[keyType])) {
      throw new DtlsFailure('handshake_failure', 'noCommonSignature', 'The peer accepts no certificate like ours.');
    }
    this.#transcript.add(message);
    this.#state = { at: 'serverHelloDone', agreed, offer, scheme };
    return {};
  }

  #onHelloDone(message: HandshakeMessage, { agreed, offer, scheme }: Answer): Step | undefined {
    if (message.body.length > 0) return undefined;
    const { certificate, counters } = this.#parameters;
    counters.asymmetricOperations += 3; // key pair, agreement, signature
    const share = createKeyShare(offer.group);
    const premaster = share.agree(offer.publicKey);
    this.#transcript.add(message);
    const messages: HandshakeMessage[] = [];
    if (scheme !== undefined) {
      messages.push(this.#own(HandshakeType.certificate, writeCertificates([certificate.der])));
    }
    messages.push(this.#own(HandshakeType.clientKeyExchange, writeClientKeyExchange(share.publicKey)));
    const randoms = { client: this.#clientRandom, server: agreed.serverRandom };
    const schedule = new KeySchedule(agreed.suite, premaster, this.#transcript.bytes(), randoms);
    if (scheme !== undefined) {
      const signature = signWith(scheme, certificate.privateKey, this.#transcript.bytes());
      messages.push(this.#own(HandshakeType.certificateVerify, writeCertificateVerify({ scheme, signature })));
    }
    const finished = this.#own(HandshakeType.finished, schedule.verifyData('client', this.#transcript.bytes()));
    this.#state = { at: 'changeCipherSpec', agreed, schedule };
    return { flight: { messages, finished }, write: schedule.protections().client };
  }

  #onFinished(message: HandshakeMessage, agreed: Agreement, schedule: KeySchedule): Step {
    if (!equalSecrets(message.body, schedule.verifyData('server', this.#transcript.bytes()))) {
      throw new DtlsFailure('decrypt_error', 'badFinished', 'The two sides saw different handshakes.');
    }
    this.#state = { at: 'done' };
    return { connected: srtpKeys(agreed.profile, schedule) };
  }

  #own(type: number, body: Buffer): HandshakeMessage {
    const message = { type, messageSequence: this.#nextSequence++, body };
    this.#transcript.add(message);
    return message;
  }
}

/**
 * @throws DtlsFailure when the server chose what was not offered. The downgrade sentinels of RFC 8446 section 4.1.3 say
 *   nothing to a client whose best and only version is DTLS 1.2: anything lower is refused by its version.
 */
function acceptServerHello(
  hello: ServerHello,
  { srtpProfiles }: HandshakeParameters,
): Pick<Agreement, 'suite' | 'profile'> {
  const { extensions } = hello;
  if (hello.version !== VERSION_1_2) {
    throw new DtlsFailure('protocol_version', 'protocolVersion', 'The peer does not speak DTLS 1.2.');
  }
  const suite = SUITES.find(({ id }) => id === hello.suite);
  if (suite === undefined || hello.compression !== NULL_COMPRESSION) {
    throw new DtlsFailure('illegal_parameter', 'noCommonSuite', 'The peer chose a suite that was not offered.');
  }
  for (const type of hello.extensionTypes) {
    if (OFFERED.has(type)) continue;
    throw new DtlsFailure('unsupported_extension', 'illegalParameter', `The peer answers extension ${type} unasked.`);
  }
  if ((extensions.renegotiationInfo?.length ?? 0) > 0) {
    throw new DtlsFailure('handshake_failure', 'renegotiation', 'The peer renegotiates a session that does not exist.');
  }
  if (extensions.extendedMasterSecret !== true) {
    throw new DtlsFailure(
      'handshake_failure',
      'noExtendedMasterSecret',
      'The peer does not answer extended_master_secret (RFC 7627).',
    );
  }
  if (extensions.pointFormats?.includes(UNCOMPRESSED_POINT) === false) {
    throw new DtlsFailure('illegal_parameter', 'noCommonGroup', 'The peer reads no uncompressed points.');
  }
  // RFC 5764 section 4.1.1: exactly one profile, of ours, and no MKI, as none was offered.
  const chosen = extensions.useSrtp?.profiles ?? [];
  const profile = chosen.length === 1 ? chooseProfile(srtpProfiles, chosen) : undefined;
  if (profile === undefined || (extensions.useSrtp?.mki.length ?? 0) > 0) {
    throw new DtlsFailure('illegal_parameter', 'noCommonSrtpProfile', 'The peer chose no SRTP profile of ours.');
  }
  return { suite, profile };
}
