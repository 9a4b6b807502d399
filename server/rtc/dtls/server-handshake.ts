import { randomBytes } from 'node:crypto';
import { UNCOMPRESSED_ONLY, type Extensions } from './extensions.ts';
import { DtlsFailure } from './failure.ts';
import type { HandshakeMessage } from './fragments.ts';
import type { Handshake, HandshakeParameters, Step } from './handshake.ts';
import { writeServerHello, type ClientHello } from './hello-messages.ts';
import {
  readCertificates,
  readCertificateVerify,
  readClientKeyExchange,
  writeCertificateRequest,
  writeCertificates,
  writeKeyParameters,
  writeServerKeyExchange,
} from './key-messages.ts';
import { equalSecrets, KeySchedule } from './key-schedule.ts';
import { chooseGroup, createKeyShare, type KeyShare } from './key-shares.ts';
import { readPeerCertificate, type PeerCertificate } from './peer-certificate.ts';
import {
  EMPTY_RENEGOTIATION_INFO_SCSV,
  HandshakeType,
  NULL_COMPRESSION,
  RANDOM_BYTES,
  UNCOMPRESSED_POINT,
  VERSION_1_2,
} from './protocol.ts';
import type { RecordProtection } from './record-protection.ts';
import { chooseScheme, SIGNATURE_SCHEMES, signingKeyType, signWith, verifyWith } from './signatures.ts';
import { chooseProfile, profileIds, srtpKeys, type SrtpProfileName } from './srtp-keys.ts';
import { chooseSuite, type CipherSuite } from './suites.ts';
import { Transcript } from './transcript.ts';

/** certificate_types of a CertificateRequest: ecdsa_sign, rsa_sign. */
const CERTIFICATE_TYPES = [64, 1];
const RSA_KEY_TYPE = 'rsa';

interface Agreement {
  readonly suite: CipherSuite;
  readonly group: number;
  readonly scheme: number;
  readonly profile: SrtpProfileName;
}

type State =
  | { readonly at: 'certificate' }
  | { readonly at: 'clientKeyExchange'; readonly peer: PeerCertificate }
  | { readonly at: 'certificateVerify'; readonly peer: PeerCertificate; readonly schedule: KeySchedule }
  | { readonly at: 'changeCipherSpec' | 'finished'; readonly schedule: KeySchedule }
  | { readonly at: 'done' };

/** The server's half (RFC 5246 section 7.3), from a ClientHello that the gate has let in. */
export class ServerHandshake implements Handshake {
  readonly #parameters: HandshakeParameters;
  readonly #agreement: Agreement;
  readonly #clientRandom: Buffer;
  readonly #serverRandom = randomBytes(RANDOM_BYTES);
  readonly #share: KeyShare;
  readonly #transcript = new Transcript();
  #state: State = { at: 'certificate' };
  #nextSequence: number;
  /** ServerHello to ServerHelloDone. */
  readonly first: Step;

  /** @param message the ClientHello @throws DtlsFailure when there is no common ground */
  constructor(parameters: HandshakeParameters, hello: ClientHello, message: HandshakeMessage) {
    this.#parameters = parameters;
    this.#agreement = agree(parameters, hello);
    this.#clientRandom = Buffer.from(hello.random);
    // Our numbers go on from the HelloVerifyRequests, one for each ClientHello (RFC 6347 section 4.2.2).
    this.#nextSequence = message.messageSequence;
    this.#transcript.add(message);
    parameters.counters.asymmetricOperations += 2; // key pair, signature
    this.#share = createKeyShare(this.#agreement.group);
    this.first = { flight: { messages: this.#firstFlight(hello) } };
  }

  receive(message: HandshakeMessage): Step | undefined {
    const state = this.#state;
    if (state.at === 'certificate' && message.type === HandshakeType.certificate) return this.#onCertificate(message);
    if (state.at === 'clientKeyExchange' && message.type === HandshakeType.clientKeyExchange) {
      return this.#onKeyExchange(message, state.peer);
    }
    if (state.at === 'certificateVerify' && message.type === HandshakeType.certificateVerify) {
      return this.#onCertificateVerify(message, state.peer, state.schedule);
    }
    if (state.at === 'finished' && message.type === HandshakeType.finished) {
      return this.#onFinished(message, state.schedule);
    }
    return undefined;
  }

  changeCipherSpec(): RecordProtection | undefined {
    if (this.#state.at !== 'changeCipherSpec') return undefined;
    const { schedule } = this.#state;
    this.#state = { at: 'finished', schedule };
    return schedule.protections().client;
  }

  #firstFlight(hello: ClientHello): HandshakeMessage[] {
    const { suite, group, scheme, profile } = this.#agreement;
    const { certificate } = this.#parameters;
    const { suites, extensions: offered } = hello;
    // Only what the client sent may be answered.
    const knowsRenegotiation =
      offered.renegotiationInfo !== undefined || suites.includes(EMPTY_RENEGOTIATION_INFO_SCSV);
    const extensions: Extensions = {
      ...(knowsRenegotiation ? { renegotiationInfo: Buffer.alloc(0) } : {}),
      extendedMasterSecret: true,
      useSrtp: { profiles: profileIds([profile]), mki: Buffer.alloc(0) },
      ...(offered.pointFormats === undefined ? {} : { pointFormats: UNCOMPRESSED_ONLY }),
    };
    const share = writeKeyParameters(group, this.#share.publicKey);
    const signed = Buffer.concat([this.#clientRandom, this.#serverRandom, share]);
    const signature = signWith(scheme, certificate.privateKey, signed);
    const request = { types: CERTIFICATE_TYPES, schemes: SIGNATURE_SCHEMES };
    return [
      this.#own(
        HandshakeType.serverHello,
        writeServerHello({ random: this.#serverRandom, suite: suite.id, extensions }),
      ),
      this.#own(HandshakeType.certificate, writeCertificates([certificate.der])),
      this.#own(HandshakeType.serverKeyExchange, writeServerKeyExchange(share, scheme, signature)),
      this.#own(HandshakeType.certificateRequest, writeCertificateRequest(request)),
      this.#own(HandshakeType.serverHelloDone, Buffer.alloc(0)),
    ];
  }

  #onCertificate(message: HandshakeMessage): Step {
    const chain = readCertificates(message.body);
    const peer = readPeerCertificate(chain, this.#parameters.expected);
    this.#transcript.add(message);
    this.#state = { at: 'clientKeyExchange', peer };
    return {};
  }

  #onKeyExchange(message: HandshakeMessage, peer: PeerCertificate): Step {
    const peerPublicKey = readClientKeyExchange(message.body);
    this.#parameters.counters.asymmetricOperations += 1;
    const premaster = this.#share.agree(peerPublicKey);
    this.#transcript.add(message);
    const randoms = { client: this.#clientRandom, server: this.#serverRandom };
    const schedule = new KeySchedule(this.#agreement.suite, premaster, this.#transcript.bytes(), randoms);
    this.#state = { at: 'certificateVerify', peer, schedule };
    return {};
  }

  /** RFC 5246 section 7.4.8: the peer signs everything so far with the key of its certificate. */
  #onCertificateVerify(message: HandshakeMessage, peer: PeerCertificate, schedule: KeySchedule): Step {
    const { scheme, signature } = readCertificateVerify(message.body);
    this.#parameters.counters.asymmetricOperations += 1;
    if (!verifyWith(scheme, peer.publicKey, this.#transcript.bytes(), signature)) {
      throw new DtlsFailure(
        'decrypt_error',
        'badCertificateVerify',
        'The peer did not sign the handshake with the key of its certificate.',
      );
    }
    this.#transcript.add(message);
    this.#state = { at: 'changeCipherSpec', schedule };
    return {};
  }

  #onFinished(message: HandshakeMessage, schedule: KeySchedule): Step {
    if (!equalSecrets(message.body, schedule.verifyData('client', this.#transcript.bytes()))) {
      throw new DtlsFailure('decrypt_error', 'badFinished', 'The two sides saw different handshakes.');
    }
    this.#transcript.add(message);
    const finished = this.#own(HandshakeType.finished, schedule.verifyData('server', this.#transcript.bytes()));
    this.#state = { at: 'done' };
    return {
      flight: { messages: [], finished },
      write: schedule.protections().server,
      connected: srtpKeys(this.#agreement.profile, schedule),
    };
  }

  #own(type: number, body: Buffer): HandshakeMessage {
    const message = { type, messageSequence: this.#nextSequence++, body };
    this.#transcript.add(message);
    return message;
  }
}

/** What both sides can do. @throws DtlsFailure with the first thing that is missing */
function agree({ certificate, srtpProfiles }: HandshakeParameters, hello: ClientHello): Agreement {
  const { supportedVersions, supportedGroups, pointFormats, signatureAlgorithms, useSrtp } = hello.extensions;
  // DTLS versions count downwards. A client of DTLS 1.3 says 1.2 here and lists what it speaks (RFC 9147 section 5.3).
  if (hello.version > VERSION_1_2 || supportedVersions?.includes(VERSION_1_2) === false) {
    throw new DtlsFailure('protocol_version', 'protocolVersion', 'The peer does not speak DTLS 1.2.');
  }
  if (!hello.compressions.includes(NULL_COMPRESSION)) {
    throw new DtlsFailure('illegal_parameter', 'illegalParameter', 'The peer insists on compression.');
  }
  if ((hello.extensions.renegotiationInfo?.length ?? 0) > 0) {
    throw new DtlsFailure('handshake_failure', 'renegotiation', 'The peer renegotiates a session that does not exist.');
  }
  if (hello.extensions.extendedMasterSecret !== true) {
    throw new DtlsFailure(
      'handshake_failure',
      'noExtendedMasterSecret',
      'The peer does not offer extended_master_secret (RFC 7627).',
    );
  }
  const keyType = signingKeyType(certificate.privateKey) ?? RSA_KEY_TYPE;
  const suite = chooseSuite(hello.suites, keyType);
  if (suite === undefined) {
    throw new DtlsFailure(
      'insufficient_security',
      'noCommonSuite',
      `The peer offers no suite of ECDHE_${keyType === 'ec' ? 'ECDSA' : 'RSA'} with AES-GCM or ChaCha20-Poly1305.`,
    );
  }
  // Without the extension the client can do every group (RFC 8422 section 4); P-256 then is the one that all have.
  const group = supportedGroups === undefined ? 23 : chooseGroup(supportedGroups);
  if (group === undefined || pointFormats?.includes(UNCOMPRESSED_POINT) === false) {
    throw new DtlsFailure('handshake_failure', 'noCommonGroup', 'The peer offers neither X25519 nor P-256 nor P-384.');
  }
  // Without the extension the client means SHA-1 (RFC 5246 section 7.4.1.4.1).
  const scheme = chooseScheme(signatureAlgorithms ?? [], keyType);
  if (scheme === undefined) {
    throw new DtlsFailure(
      'handshake_failure',
      'noCommonSignature',
      'The peer accepts no signature of our certificate with SHA-256 or better.',
    );
  }
  const profile = chooseProfile(srtpProfiles, useSrtp?.profiles ?? []);
  if (profile === undefined) {
    throw new DtlsFailure('handshake_failure', 'noCommonSrtpProfile', 'The peer offers no SRTP profile of ours.');
  }
  return { suite, group, scheme, profile };
}
