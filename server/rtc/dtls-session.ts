import {
  DtlsClient,
  DtlsServer,
  ProtectionProfileAeadAes128Gcm,
  ProtectionProfileAes128CmHmacSha1_80,
  type RTCCertificate,
} from 'werift';
import { AppError } from '../errors.ts';
import { fingerprintMatches } from './dtls-certificate.ts';
import { ALERT, hasForgedRecord } from './dtls-records.ts';
import { safely } from './safely.ts';
import { saltBytes, type SrtpProfile } from './srtp.ts';
import type { Fingerprint } from './transport-parameters.ts';
import { dtlsTransport, forgetHandshake, recordCipher, sendLastRecord, type WeriftDtls } from './werift-internals.ts';

/** SRTP master keys of both directions (RFC 5764 section 4.2). */
export interface DtlsKeys {
  readonly profile: SrtpProfile;
  readonly local: { readonly masterKey: Buffer; readonly masterSalt: Buffer };
  readonly remote: { readonly masterKey: Buffer; readonly masterSalt: Buffer };
}

export interface DtlsListener {
  /** The handshake is complete and the peer's certificate is the one its description names. */
  onConnected(keys: DtlsKeys): void;
  /** The peer closed the session. */
  onClosed(): void;
  onFailed(error: AppError): void;
}

export interface DtlsOptions {
  readonly role: 'server' | 'client';
  readonly certificate: RTCCertificate;
  readonly remoteFingerprints: readonly Fingerprint[];
  readonly send: (datagram: Buffer) => void;
  readonly listener: DtlsListener;
}

type WeriftOptions = ConstructorParameters<typeof DtlsServer>[0];

/** Level warning, description close_notify. */
const CLOSE_NOTIFY = Buffer.from([1, 0]);
/** In order of preference. */
const PROFILES: readonly [number, SrtpProfile][] = [
  [ProtectionProfileAeadAes128Gcm, 'AEAD_AES_128_GCM'],
  [ProtectionProfileAes128CmHmacSha1_80, 'AES128_CM_HMAC_SHA1_80'],
];

/** The DTLS 1.2 session that keys a transport's SRTP (RFC 5764). Knows neither sockets nor ICE. */
export class DtlsSession {
  readonly #options: DtlsOptions;
  readonly #dtls: WeriftDtls;
  readonly #receive: (datagram: Buffer) => boolean;
  #connected = false;
  #closed = false;

  constructor(options: DtlsOptions) {
    this.#options = options;
    const { certPem, privateKey, signatureHash } = options.certificate;
    const { transport, receive } = dtlsTransport((datagram) => options.send(datagram));
    this.#receive = receive;
    const werift: WeriftOptions = {
      cert: certPem,
      key: privateKey,
      signatureHash,
      transport,
      srtpProfiles: PROFILES.map(([id]) => id) as WeriftOptions['srtpProfiles'],
      extendedMasterSecret: true,
    };
    this.#dtls =
      options.role === 'server' ? new DtlsServer({ ...werift, certificateRequest: true }) : new DtlsClient(werift);
    this.#dtls.onConnect.once(() => this.#onConnect());
    this.#dtls.onError.once(() => this.#fail('The DTLS handshake failed.'));
    this.#dtls.onClose.subscribe(() => {
      if (!this.#closed) options.listener.onClosed();
    });
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** The client's first flight; a server waits for it. To be called once there is a path. */
  start(): void {
    if (this.#dtls instanceof DtlsClient && !this.#connected && !this.#closed) {
      this.#dtls.connect().catch(() => undefined);
    }
  }

  /** @returns false for a datagram that was refused */
  receive(datagram: Buffer): boolean {
    if (this.#closed) return true;
    if (this.#connected && hasForgedRecord(datagram, recordCipher(this.#dtls))) return false;
    return this.#receive(datagram);
  }

  /** Once a minute: drops what a long session would otherwise collect. */
  trim(): void {
    if (this.#connected) forgetHandshake(this.#dtls);
  }

  /** Sends close_notify (RFC 5246 section 7.2.1): the far side learns at once, not by half a minute of silence. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#connected) safely(() => sendLastRecord(this.#dtls, ALERT, CLOSE_NOTIFY));
  }

  #onConnect(): void {
    if (this.#closed) return;
    const profile = PROFILES.find(([id]) => id === this.#dtls.srtp.srtpProfile)?.[1];
    if (profile === undefined) return this.#fail('The peer shares no SRTP protection profile.');
    if (!fingerprintMatches(this.#dtls.remoteCertificate, this.#options.remoteFingerprints)) {
      return this.#fail('The peer’s certificate is not the one of its description.');
    }
    const keys = this.#dtls.extractSessionKeys(16, saltBytes(profile));
    this.#connected = true;
    this.#options.listener.onConnected({
      profile,
      local: { masterKey: keys.localKey, masterSalt: keys.localSalt },
      remote: { masterKey: keys.remoteKey, masterSalt: keys.remoteSalt },
    });
  }

  #fail(reason: string): void {
    if (!this.#closed) this.#options.listener.onFailed(new AppError('peer.connection', reason));
  }
}
