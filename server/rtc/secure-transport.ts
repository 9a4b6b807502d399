import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import { certificate } from './dtls-certificate.ts';
import type { OwnCertificate } from './dtls/own-certificate.ts';
import { DtlsSession, type DtlsKeys } from './dtls/session.ts';
import { IceAgent, type IceBase, type IceTarget, type LocalIceParameters } from './ice-agent.ts';
import { Liveness } from './liveness.ts';
import type { IceCandidate, PeerState, RtcOptions } from './peers.ts';
import { SRTP_PROFILES, SrtpReceiver, SrtpSender, type SrtpProfile } from './srtp.ts';
import type { LocalTransportParameters, RemoteTransportParameters } from './transport-parameters.ts';
import type { Address } from './udp-socket.ts';

/**
 * One ICE + DTLS + SRTP path to a peer: routes datagrams between the three and watches that the peer is alive. Sessions
 * above own their RTP and RTCP completely. The peer offers, unless it is a target: a server that we offer to.
 */

export interface TransportListener {
  /** @param cause why it is closed, where the peer failed to prove who it is or to speak DTLS */
  onState(state: PeerState, cause?: AppError): void;
  /** A decrypted RTP packet, not yet parsed. */
  onRtp(packet: Buffer, arrivedAtUs: MonotonicUs): void;
  onRtcp(packet: Buffer, arrivedAtUs: MonotonicUs): void;
  /** Candidates found after the answer was made. */
  onCandidate(candidate: IceCandidate): void;
}

export interface TransportCounters {
  packetsSent: number;
  bytesSent: number;
  packetsReceived: number;
  bytesReceived: number;
  /** Neither STUN of this session nor DTLS from a known address nor authentic SRTP. */
  packetsRefused: number;
}

const CONNECT_WITHIN_US = 30_000_000;

/** How long each step of connecting took, in ms since the peer was made: `npm run bench:connect` reads it from /debug/state. */
interface ConnectTimes {
  readonly beganAt: string;
  pathMs?: number;
  secureMs?: number;
  /** The first authentic RTP or RTCP packet. */
  mediaMs?: number;
}

export interface TransportTarget extends IceTarget {
  /** From the answer until the path is secure. */
  readonly connectWithinMs: number;
}

/** What a connection uses of its transport. */
export interface PeerTransport {
  readonly state: PeerState;
  readonly secure: boolean;
  readonly counters: TransportCounters;
  readonly roundTripUs: number | undefined;
  accept(remote: RemoteTransportParameters): Promise<LocalTransportParameters>;
  update(remote: RemoteTransportParameters): Promise<LocalTransportParameters>;
  addCandidate(candidate: IceCandidate): void;
  sendRtp(header: Buffer, payload: Uint8Array, ssrc: number, index: number): number;
  sendRtcp(...compound: Buffer[]): void;
  tick(nowUs: MonotonicUs): void;
  close(): Promise<void>;
}

export type CreateTransport = (listener: TransportListener) => PeerTransport;

export class SecureTransport implements PeerTransport {
  readonly #counters: TransportCounters = {
    packetsSent: 0,
    bytesSent: 0,
    packetsReceived: 0,
    bytesReceived: 0,
    packetsRefused: 0,
  };
  readonly #listener: TransportListener;
  readonly #ice: IceAgent;
  readonly #liveness = new Liveness(monotonicUs());
  readonly #beganAtUs = monotonicUs();
  readonly #times: ConnectTimes = { beganAt: new Date().toISOString() };
  readonly #target: TransportTarget | undefined;
  #connectUntilUs = monotonicUs() + CONNECT_WITHIN_US;
  #state: PeerState = 'connecting';
  #dtls: DtlsSession<SrtpProfile> | undefined;
  #setup: 'active' | 'passive' = 'passive';
  /** What our description shows. */
  #certificate: OwnCertificate | undefined;
  #sender: SrtpSender | undefined;
  #receiver: SrtpReceiver | undefined;
  #closing: Promise<void> | undefined;

  constructor(options: RtcOptions, listener: TransportListener, target?: TransportTarget) {
    this.#listener = listener;
    this.#target = target;
    const events = {
      onDatagram: (data: Buffer, base: IceBase, from: Address) => this.#onDatagram(data, base, from),
      onCandidate: (candidate: IceCandidate) => listener.onCandidate(candidate),
      onConnected: () => {
        this.#times.pathMs ??= this.#sinceBeginMs(monotonicUs());
        this.#dtls?.start();
      },
    };
    this.#ice = new IceAgent(options, events, target);
  }

  get state(): PeerState {
    return this.#state;
  }

  get secure(): boolean {
    return this.#sender !== undefined;
  }

  get counters(): TransportCounters {
    return { ...this.#counters, packetsRefused: this.#counters.packetsRefused + this.#ice.refused };
  }

  /** Of the last STUN transaction; undefined before one. */
  get roundTripUs(): number | undefined {
    return this.#ice.roundTripUs;
  }

  /** Takes the offer's transport, gathers (at most a second) and starts connecting. */
  async accept(remote: RemoteTransportParameters): Promise<LocalTransportParameters> {
    this.#throwIfClosed();
    return this.#closingOnError(() => this.#connect(remote, remote.setup === 'passive' ? 'active' : 'passive'));
  }

  /** Our side first, of a target; answered() follows. */
  async offer(): Promise<LocalTransportParameters> {
    this.#throwIfClosed();
    return this.#closingOnError(async () => {
      this.#certificate = certificate();
      return { ...this.#local(await this.#ice.offer()), setup: 'actpass' };
    });
  }

  /** An answer that leaves the roles open although it must not (RFC 5763 section 5) gets a client. */
  async answered(remote: RemoteTransportParameters): Promise<void> {
    this.#throwIfClosed();
    this.#connectUntilUs = monotonicUs() + (this.#target?.connectWithinMs ?? 0) * 1000;
    await this.#closingOnError(() => this.#connect(remote, remote.setup === 'active' ? 'passive' : 'active'));
  }

  async #connect(remote: RemoteTransportParameters, setup: 'active' | 'passive'): Promise<LocalTransportParameters> {
    this.#certificate ??= certificate();
    this.#setup = setup;
    this.#dtls = new DtlsSession({
      role: setup === 'passive' ? 'server' : 'client',
      certificate: this.#certificate,
      remoteFingerprints: remote.fingerprints,
      srtpProfiles: SRTP_PROFILES,
      send: (datagram) => this.#send(datagram),
      roundTripMs: () => {
        const { roundTripUs } = this.#ice;
        return roundTripUs === undefined ? undefined : roundTripUs / 1000;
      },
      listener: {
        onConnected: (keys) => this.#onSecure(keys),
        onClosed: () => void this.close(),
        onFailed: (error) => void this.close(error),
      },
    });
    // A client's first flight needs a path; a server may be asked as soon as a check of the peer is authentic.
    if (setup === 'passive') this.#dtls.start();
    return this.#local(await this.#ice.start(remote));
  }

  /**
   * The transport of a later description. New ICE credentials restart ICE (RFC 8839 section 4.4.1.1.1): media keeps flowing
   * over the old route until the new one works. The DTLS association stays.
   * @throws AppError request.tooMany for ICE restarts in quick succession
   */
  async update(remote: RemoteTransportParameters): Promise<LocalTransportParameters> {
    this.#throwIfClosed();
    return this.#local(await this.#ice.update(remote));
  }

  addCandidate(candidate: IceCandidate): void {
    this.#ice.addCandidate(candidate);
  }

  /** @param index unwrapped sequence number, as SrtpSender.protect() takes it. @returns bytes sent, 0 while not connected */
  sendRtp(header: Buffer, payload: Uint8Array, ssrc: number, index: number): number {
    if (this.#sender === undefined) return 0;
    const packet = this.#sender.protect(header, payload, ssrc, index);
    this.#send(packet);
    return packet.length;
  }

  /** @param compound one or more RTCP packets */
  sendRtcp(...compound: Buffer[]): void {
    if (this.#sender === undefined) return;
    this.#send(this.#sender.protectRtcp(compound.length === 1 ? (compound[0] as Buffer) : Buffer.concat(compound)));
  }

  /** To be called every 10 to 50 ms: notices silence and failed connecting. */
  tick(nowUs: MonotonicUs): void {
    this.#connectUntilUs += this.#liveness.tick(nowUs);
    this.#ice.tick(nowUs);
    if (this.#state === 'closed') return;
    if (this.#state === 'connecting') {
      if (nowUs > this.#connectUntilUs) void this.close();
      return;
    }
    this.#liveness.heard(this.#ice.consentedAtUs);
    const peer = this.#liveness.state(nowUs);
    if (peer === 'gone') void this.close();
    else this.#setState(peer === 'silent' ? 'disconnected' : 'connected');
  }

  /** Idempotent. Resolves when sockets are closed. @param cause for the listener */
  close(cause?: AppError): Promise<void> {
    this.#closing ??= this.#close(cause);
    return this.#closing;
  }

  toJSON(): object {
    const { state, secure, counters } = this;
    const [connecting, dtls] = [this.#times, this.#dtls?.state];
    return { state, secure, setup: this.#setup, connecting, counters, dtls, ice: this.#ice };
  }

  async #close(cause: AppError | undefined): Promise<void> {
    this.#dtls?.close();
    this.#setState('closed', cause);
    this.#sender = undefined;
    this.#receiver = undefined;
    await this.#ice.close();
  }

  #sinceBeginMs(nowUs: MonotonicUs): number {
    return Math.round((nowUs - this.#beganAtUs) / 100) / 10;
  }

  #throwIfClosed(): void {
    if (this.#state === 'closed') throw new AppError('request.unknownSession', 'The peer connection is closed.');
  }

  #local(ice: LocalIceParameters): LocalTransportParameters {
    return { ...ice, fingerprint: this.#certificate?.sha256Fingerprint ?? '', setup: this.#setup };
  }

  async #closingOnError<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  /** RFC 7983: the first byte names the protocol. */
  #onDatagram(data: Buffer, base: IceBase, from: Address): void {
    const first = data[0] as number;
    if (first >= 20 && first <= 63) this.#onDtls(data, base, from);
    else if (first >= 128 && first <= 191) this.#onSrtp(data, monotonicUs());
    else this.#counters.packetsRefused += 1;
  }

  /** DTLS only from where an authentic connectivity check came from: nothing is answered to forged addresses. */
  #onDtls(data: Buffer, base: IceBase, from: Address): void {
    if (this.#dtls === undefined || !this.#ice.isKnown(base, from)) {
      this.#counters.packetsRefused += 1;
      return;
    }
    if (!this.secure) this.#ice.useUntilConnected(base, from, data.length);
    if (!this.#dtls.receive(data)) this.#counters.packetsRefused += 1;
  }

  #onSrtp(data: Buffer, nowUs: MonotonicUs): void {
    const rtcp = data.length > 1 && (data[1] as number) >= 192 && (data[1] as number) <= 223; // RFC 5761 section 4
    const plain = rtcp ? this.#receiver?.unprotectRtcp(data) : this.#receiver?.unprotect(data);
    if (plain === undefined) {
      this.#counters.packetsRefused += 1;
      return;
    }
    this.#counters.packetsReceived += 1;
    this.#counters.bytesReceived += data.length;
    this.#times.mediaMs ??= this.#sinceBeginMs(nowUs);
    this.#liveness.heard(nowUs);
    if (this.#state === 'disconnected') this.#setState('connected');
    if (rtcp) this.#listener.onRtcp(plain, nowUs);
    else this.#listener.onRtp(plain, nowUs);
  }

  #onSecure({ profile, local, remote }: DtlsKeys<SrtpProfile>): void {
    if (this.#state === 'closed') return;
    this.#sender = new SrtpSender({ profile, ...local });
    this.#receiver = new SrtpReceiver({ profile, ...remote });
    this.#times.secureMs = this.#sinceBeginMs(monotonicUs());
    this.#liveness.heard(monotonicUs());
    this.#setState('connected');
  }

  #send(data: Buffer): void {
    if (!this.#ice.send(data)) return;
    this.#counters.packetsSent += 1;
    this.#counters.bytesSent += data.length;
  }

  #setState(state: PeerState, cause?: AppError): void {
    if (this.#state === state || this.#state === 'closed') return;
    this.#state = state;
    this.#listener.onState(state, cause);
  }
}
