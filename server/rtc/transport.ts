import { createHash, randomInt } from 'node:crypto';
import { isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import {
  Candidate,
  CipherContext,
  Connection,
  DtlsClient,
  DtlsServer,
  HashAlgorithm,
  NamedCurveAlgorithm,
  ProtectionProfileAeadAes128Gcm,
  ProtectionProfileAes128CmHmacSha1_80,
  RTCCertificate,
  SignatureAlgorithm,
  candidateFoundation,
  candidatePriority,
  classes,
  isDtls,
  parseIceServers,
  parseMessage,
} from 'werift';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { IceCandidateJson, PeerState, RtcOptions } from './peers.ts';
import { SrtpReceiver, SrtpSender, saltBytes, type SrtpKeys, type SrtpProfile } from './srtp.ts';

/**
 * One ICE + DTLS + SRTP path to a peer. ICE (host, STUN, TURN; consent) and the DTLS handshake are werift's; sockets are
 * read and written here directly, because werift spends more time around a packet than on it, and sessions above own
 * their RTP and RTCP completely. Always the answerer: the peer offers.
 */

export interface RemoteTransportParameters {
  readonly usernameFragment: string;
  readonly password: string;
  readonly fingerprints: readonly { readonly algorithm: string; readonly value: string }[];
  /** Role the offer asks for; `actpass` leaves it to us. */
  readonly setup: 'actpass' | 'active' | 'passive';
  readonly iceLite: boolean;
}

export interface LocalTransportParameters {
  readonly usernameFragment: string;
  readonly password: string;
  readonly fingerprint: string;
  readonly setup: 'active' | 'passive';
  /** candidate-attribute values of RFC 8839 section 5.1, without `a=`. */
  readonly candidates: readonly string[];
  readonly gatheringComplete: boolean;
}

export interface TransportListener {
  onState(state: PeerState): void;
  /** A decrypted RTP packet, not yet parsed. */
  onRtp(packet: Buffer, arrivedAtUs: MonotonicUs): void;
  onRtcp(packet: Buffer, arrivedAtUs: MonotonicUs): void;
  /** Candidates found after the answer was made. */
  onCandidate(candidate: IceCandidateJson): void;
}

export interface TransportCounters {
  packetsSent: number;
  bytesSent: number;
  packetsReceived: number;
  bytesReceived: number;
  /** Not STUN, DTLS or authentic SRTP. */
  packetsRefused: number;
}

type IceConnection = InstanceType<typeof Connection>;
type DtlsOptions = ConstructorParameters<typeof DtlsServer>[0];

/** The parts of werift's ICE that its types keep private. */
interface SocketProtocol {
  readonly type: string;
  readonly localCandidate?: Candidate;
  readonly transport?: {
    onData: (data: Buffer, address: Address) => void;
    readonly socket?: {
      send(data: Buffer, port: number, address: string): void;
      on(event: 'error', listener: (error: Error) => void): unknown;
      address(): { address: string; family: string; port: number };
    };
  };
  sendData(data: Buffer, address: Address): Promise<void>;
}
type Address = readonly [string, number];
interface Route {
  readonly protocol: SocketProtocol;
  readonly address: Address;
}

const GATHER_WAIT_MS = 1000;
const MAX_REMOTE_CANDIDATES = 64;
const MAX_VALIDATED_ADDRESSES = 64;
/** Browsers check consent every 2 to 5 s and report every second: silence this long means the path is gone. */
const DISCONNECTED_AFTER_US = 6_000_000;
const CLOSED_AFTER_US = 15_000_000;
const CONNECT_WITHIN_US = 30_000_000;
const PROFILES: readonly [number, SrtpProfile][] = [
  [ProtectionProfileAeadAes128Gcm, 'AEAD_AES_128_GCM'],
  [ProtectionProfileAes128CmHmacSha1_80, 'AES128_CM_HMAC_SHA1_80'],
];

let certificatePromise: Promise<RTCCertificate> | undefined;

/** One self-signed P-256 certificate per process: making one costs milliseconds, and peers check only its fingerprint. */
function certificate(): Promise<RTCCertificate> {
  certificatePromise ??= CipherContext.createSelfSignedCertificateWithKey(
    { signature: SignatureAlgorithm.ecdsa_3, hash: HashAlgorithm.sha256_4 },
    NamedCurveAlgorithm.secp256r1_23,
  ).then(({ certPem, keyPem, signatureHash }) => new RTCCertificate(keyPem, certPem, signatureHash));
  return certificatePromise;
}

export class SecureTransport {
  readonly counters: TransportCounters = {
    packetsSent: 0,
    bytesSent: 0,
    packetsReceived: 0,
    bytesReceived: 0,
    packetsRefused: 0,
  };
  readonly #options: RtcOptions;
  readonly #listener: TransportListener;
  readonly #ice: IceConnection;
  readonly #createdAtUs = monotonicUs();
  #state: PeerState = 'connecting';
  #dtls: DtlsServer | DtlsClient | undefined;
  #dtlsSink: ((data: Buffer) => void) | undefined;
  #setup: 'active' | 'passive' = 'passive';
  #fingerprint = '';
  #sender: SrtpSender | undefined;
  #receiver: SrtpReceiver | undefined;
  #route: Route | undefined;
  #lastReceivedUs: MonotonicUs = 0;
  #hooked = new WeakSet<SocketProtocol>();
  #validated = new Set<string>();
  #answered = false;
  #remoteCandidates = 0;
  #closing: Promise<void> | undefined;

  constructor(options: RtcOptions, listener: TransportListener) {
    this.#options = options;
    this.#listener = listener;
    const servers = parseIceServers(options.iceServers.map((server) => ({ ...server })));
    const bind = bindAddresses(options);
    this.#ice = new Connection(false, {
      // werift's own interface discovery binds every interface when its filter matches none, so it is switched off and
      // gets the list of addresses to bind instead: one socket per address family serves all local addresses.
      useIpv4: false,
      useIpv6: false,
      additionalHostAddresses: bind.addresses,
      interfaceAddresses: bind.socketAddresses,
      portRange: options.portRange === undefined ? undefined : [...options.portRange],
      stunServer: servers.stunServer,
      turnServer: servers.turnServer,
      turnUsername: servers.turnUsername,
      turnPassword: servers.turnPassword,
      turnTransport: servers.turnTransport,
      stunGatherTimeout: 3,
    });
    // Without a configured server werift falls back to a public one of its own; we never contact what nobody configured.
    this.#ice.stunServer = servers.stunServer;
    this.#ice.onIceCandidate.subscribe((candidate) => this.#onLocalCandidate(candidate));
    this.#ice.onData.subscribe((data) => this.#onDatagram(data, undefined));
  }

  get state(): PeerState {
    return this.#state;
  }

  get secure(): boolean {
    return this.#sender !== undefined;
  }

  /** Of the last STUN transaction; undefined before one. */
  get roundTripUs(): number | undefined {
    const seconds = this.#ice.nominated?.rtt;
    return seconds === undefined ? undefined : seconds * 1e6;
  }

  /** Takes the offer's transport, gathers (at most a second) and starts connecting. */
  async accept(remote: RemoteTransportParameters): Promise<LocalTransportParameters> {
    const own = await certificate();
    const { certPem, privateKey, signatureHash } = own;
    this.#throwIfClosed();
    this.#fingerprint = own.getFingerprints()[0]?.value ?? '';
    this.#setup = remote.setup === 'passive' ? 'active' : 'passive';
    this.#ice.setRemoteParams({ ...remote });
    this.#ice.iceControlling = remote.iceLite;
    const options = {
      cert: certPem,
      key: privateKey,
      signatureHash,
      transport: this.#dtlsSocket(),
      srtpProfiles: PROFILES.map(([id]) => id) as DtlsOptions['srtpProfiles'],
      extendedMasterSecret: true,
    };
    const dtls =
      this.#setup === 'passive' ? new DtlsServer({ ...options, certificateRequest: true }) : new DtlsClient(options);
    this.#dtls = dtls;
    dtls.onConnect.once(() => this.#onDtlsConnected(dtls, remote));
    dtls.onError.once(() => this.#fail());
    dtls.onClose.subscribe(() => void this.close());
    await this.#gather();
    this.#connect();
    return this.#local();
  }

  /** ICE restart (RFC 8839 section 4.4.1.1.1): media keeps flowing over the old route until the new one works. */
  async restart(remote: RemoteTransportParameters): Promise<LocalTransportParameters> {
    this.#throwIfClosed();
    this.#answered = false;
    this.#remoteCandidates = 0;
    await this.#ice.restart();
    this.#ice.setRemoteParams({ ...remote });
    await this.#gather();
    this.#connect();
    return this.#local();
  }

  async addCandidate(json: IceCandidateJson): Promise<void> {
    if (this.#state === 'closed' || json.candidate === '') return;
    const candidate = parseCandidate(json.candidate);
    // Names (mDNS) are not resolved: the browser's own checks arrive here and make a peer-reflexive pair at once.
    if (candidate === undefined || isIP(candidate.host) === 0) return;
    if (isIPv6(candidate.host) && !this.#options.ipv6) return;
    this.#remoteCandidates += 1;
    if (this.#remoteCandidates > MAX_REMOTE_CANDIDATES) return;
    await this.#ice.addRemoteCandidate(candidate);
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

  /** To be called every 10 to 100 ms: notices silence and failed connecting. */
  tick(nowUs: MonotonicUs): void {
    this.#followNomination();
    if (this.#state === 'connecting') {
      if (nowUs - this.#createdAtUs > CONNECT_WITHIN_US) this.#fail();
      return;
    }
    if (this.#state === 'closed') return;
    const silentUs = nowUs - this.#lastReceivedUs;
    if (silentUs > CLOSED_AFTER_US) this.#fail();
    else if (silentUs > DISCONNECTED_AFTER_US) this.#setState('disconnected');
  }

  /** Idempotent. Resolves when sockets are closed. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#setState('closed');
    this.#sender = undefined;
    this.#receiver = undefined;
    this.#route = undefined;
    this.#dtlsSink = undefined;
    await this.#ice.close().catch(() => undefined);
    this.#ice.onData.complete();
    this.#ice.onIceCandidate.complete();
    this.#ice.stateChanged.complete();
  }

  #throwIfClosed(): void {
    if (this.#state === 'closed') throw new AppError('request.unknownSession', 'The peer connection is closed.');
  }

  async #gather(): Promise<void> {
    const gathering = this.#ice.gatherCandidates().catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, GATHER_WAIT_MS);
    });
    // Sockets exist within a tick or two; only STUN and TURN may take longer than the wait.
    await Promise.race([gathering, patience]);
    clearTimeout(timer);
    this.#hookSockets();
    void gathering.then(() => this.#hookSockets());
    this.#throwIfClosed();
    if (this.#protocols.length === 0) {
      await this.close();
      throw new AppError('peer.connection', 'No UDP socket could be opened for this peer; check ice.portRange.');
    }
  }

  /** Runs until a pair is nominated; failing here is not fatal, the peer's checks may still validate a route. */
  #connect(): void {
    this.#ice
      .connect()
      .then(() => {
        this.#followNomination();
        if (this.#dtls instanceof DtlsClient && !this.secure && this.#state !== 'closed') return this.#dtls.connect();
        return undefined;
      })
      .catch(() => undefined);
  }

  #local(): LocalTransportParameters {
    this.#answered = true;
    const candidates: string[] = [];
    for (const candidate of this.#ice.localCandidates) candidates.push(...this.#announce(candidate));
    return {
      usernameFragment: this.#ice.localUsername,
      password: this.#ice.localPassword,
      fingerprint: this.#fingerprint,
      setup: this.#setup,
      candidates: [...new Set(candidates)],
      gatheringComplete: this.#ice.localCandidatesEnd,
    };
  }

  /** A host candidate stands for its socket: it is announced with every address the socket can be reached under. */
  #announce(candidate: Candidate): string[] {
    if (candidate.type !== 'host') return [candidate.toSdp().replace(/^(?!candidate:)/, 'candidate:')];
    const family = isIPv6(candidate.host) ? 6 : 4;
    return announcedAddresses(this.#options)
      .filter((address) => isIP(address) === family)
      .map((address, rank) => {
        const priority = candidatePriority('host', { localPreference: 65535 - rank });
        const foundation = candidateFoundation('host', 'udp', address).replace(/^candidate:/, '');
        return `candidate:${foundation} 1 udp ${priority} ${address} ${candidate.port} typ host`;
      });
  }

  #onLocalCandidate(candidate: Candidate): void {
    if (!this.#answered) return;
    for (const text of this.#announce(candidate)) this.#listener.onCandidate({ candidate: text, sdpMLineIndex: 0 });
  }

  get #protocols(): readonly SocketProtocol[] {
    return (this.#ice as unknown as { readonly protocols: readonly SocketProtocol[] }).protocols;
  }

  /** Reads the sockets before werift does: media needs none of its per-packet work, and unauthenticated STUN stops here. */
  #hookSockets(): void {
    for (const protocol of this.#protocols) {
      const { transport } = protocol;
      if (protocol.type !== 'stun' || transport?.socket === undefined || this.#hooked.has(protocol)) continue;
      this.#hooked.add(protocol);
      // An unreachable address must not end the process (EventEmitter throws without a listener).
      transport.socket.on('error', () => undefined);
      const toIce = transport.onData;
      transport.onData = (data, address) => {
        const first = data[0];
        if (first === undefined) return;
        if (first >= 4) this.#onDatagram(data, { protocol, address });
        else if (this.#acceptsStun(data, address)) toIce(data, address);
      };
    }
  }

  /**
   * Requests must carry a valid MESSAGE-INTEGRITY of this session (RFC 8445 section 7.3); werift answers any. Responses
   * are checked by werift against their transaction.
   */
  #acceptsStun(data: Buffer, address: Address): boolean {
    this.#lastReceivedUs = monotonicUs();
    const message = safely(() => parseMessage(data));
    if (message === undefined) return false;
    if (message.messageClass !== classes.REQUEST) return true;
    const username: unknown = message.getAttributeValue('USERNAME');
    if (typeof username !== 'string') return false;
    const password = this.#ice.userHistory[username.split(':')[0] ?? ''];
    if (password === undefined || safely(() => parseMessage(data, Buffer.from(password, 'utf8'))) === undefined) {
      this.counters.packetsRefused += 1;
      return false;
    }
    if (this.#validated.size < MAX_VALIDATED_ADDRESSES) this.#validated.add(addressKey(address));
    return true;
  }

  #onDatagram(data: Buffer, route: Route | undefined): void {
    const first = data[0] as number;
    const nowUs = monotonicUs();
    if (first >= 20 && first <= 63) {
      // DTLS only from where an authentic connectivity check came from: no amplification towards forged addresses.
      if (!isDtls(data) || (route !== undefined && !this.#validated.has(addressKey(route.address)))) {
        this.counters.packetsRefused += 1;
        return;
      }
      if (route !== undefined && this.#ice.nominated === undefined && !this.secure) this.#route = route;
      this.#lastReceivedUs = nowUs;
      this.#dtlsSink?.(data);
      return;
    }
    if (this.#receiver === undefined || first < 128 || first > 191) {
      this.counters.packetsRefused += 1;
      return;
    }
    const rtcp = data.length > 1 && (data[1] as number) >= 192 && (data[1] as number) <= 223; // RFC 5761 section 4
    const plain = rtcp ? this.#receiver.unprotectRtcp(data) : this.#receiver.unprotect(data);
    if (plain === undefined) {
      this.counters.packetsRefused += 1;
      return;
    }
    this.counters.packetsReceived += 1;
    this.counters.bytesReceived += data.length;
    this.#lastReceivedUs = nowUs;
    if (this.#state === 'disconnected') this.#setState('connected');
    if (rtcp) this.#listener.onRtcp(plain, nowUs);
    else this.#listener.onRtp(plain, nowUs);
  }

  /** What the handshake reads and writes; werift assigns onData. */
  #dtlsSocket(): DtlsOptions['transport'] {
    const socket = {
      type: 'ice',
      address: {},
      closed: false,
      onData: (_data: Buffer): void => undefined,
      send: async (data: Buffer): Promise<void> => this.#send(data),
      close: async (): Promise<void> => undefined,
    };
    this.#dtlsSink = (data) => socket.onData(data);
    return socket as unknown as DtlsOptions['transport'];
  }

  #onDtlsConnected(dtls: DtlsServer | DtlsClient, remote: RemoteTransportParameters): void {
    if (this.#state === 'closed') return;
    const profile = PROFILES.find(([id]) => id === dtls.srtp.srtpProfile)?.[1];
    if (profile === undefined || !fingerprintMatches(dtls.remoteCertificate, remote.fingerprints)) {
      this.#fail();
      return;
    }
    const keys = dtls.extractSessionKeys(16, saltBytes(profile));
    const session = (masterKey: Buffer, masterSalt: Buffer): SrtpKeys => ({ profile, masterKey, masterSalt });
    this.#sender = new SrtpSender(session(keys.localKey, keys.localSalt));
    this.#receiver = new SrtpReceiver(session(keys.remoteKey, keys.remoteSalt));
    this.#lastReceivedUs = monotonicUs();
    this.#setState('connected');
  }

  /** The nominated pair decides where media goes; until there is one, the address DTLS came from. */
  #followNomination(): void {
    const pair = this.#ice.nominated;
    if (pair === undefined) return;
    const { host, port } = pair.remoteCandidate;
    if (this.#route?.address[0] === host && this.#route.address[1] === port) return;
    this.#route = { protocol: pair.protocol as unknown as SocketProtocol, address: [host, port] };
  }

  #send(data: Buffer): void {
    if (this.#route === undefined) this.#followNomination();
    const route = this.#route;
    if (route === undefined) return;
    this.counters.packetsSent += 1;
    this.counters.bytesSent += data.length;
    const socket = route.protocol.type === 'stun' ? route.protocol.transport?.socket : undefined;
    try {
      if (socket === undefined) route.protocol.sendData(data, route.address).catch(() => undefined);
      else socket.send(data, route.address[1], route.address[0]);
    } catch {
      // The socket was closed between two packets of a burst.
    }
  }

  #fail(): void {
    void this.close();
  }

  #setState(state: PeerState): void {
    if (this.#state === state || this.#state === 'closed') return;
    this.#state = state;
    this.#listener.onState(state);
  }
}

function addressKey(address: Address): string {
  return `${address[0]}|${address[1]}`;
}

function safely<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

function fingerprintMatches(
  remoteCertificate: Buffer | undefined,
  expected: RemoteTransportParameters['fingerprints'],
): boolean {
  if (remoteCertificate === undefined) return false;
  return expected.some(({ algorithm, value }) => {
    const name = algorithm.replace('-', '').toLowerCase();
    if (!['sha256', 'sha384', 'sha512'].includes(name)) return false;
    const digest = createHash(name).update(remoteCertificate).digest('hex');
    return digest === value.replaceAll(':', '').toLowerCase();
  });
}

/** @returns undefined for TCP, other components and malformed text */
function parseCandidate(text: string): Candidate | undefined {
  const match = /^(?:a=)?candidate:(\S+) (\d+) (\S+) (\d+) (\S+) (\d+) typ (host|srflx|prflx|relay)\b/i.exec(text);
  if (match === null) return undefined;
  const [, foundation = '', component, protocol = '', priority, host = '', port, type = ''] = match;
  const portNumber = Number(port);
  if (protocol.toLowerCase() !== 'udp' || component !== '1' || portNumber < 1 || portNumber > 65535) return undefined;
  // A peer-reflexive address is only ever learned from a check; as an offered one werift refuses it.
  return new Candidate(foundation, 1, 'udp', Number(priority), host, portNumber, type === 'prflx' ? 'srflx' : type);
}

function localAddresses(ipv6: boolean): string[] {
  const addresses: string[] = [];
  for (const infos of Object.values(networkInterfaces())) {
    for (const info of infos ?? []) {
      const linkLocal = info.address.startsWith('fe80:') || info.address.startsWith('169.254.');
      if (!info.internal && !linkLocal && (info.family === 'IPv4' || ipv6)) addresses.push(info.address);
    }
  }
  // A machine without a network still serves itself.
  return addresses.some((address) => isIP(address) === 4) ? addresses : ['127.0.0.1', ...addresses];
}

function announcedAddresses(options: RtcOptions): string[] {
  const own = options.interfaceAddresses.length > 0 ? options.interfaceAddresses : localAddresses(options.ipv6);
  return [...new Set([...options.additionalHostAddresses, ...own])];
}

/** One socket per family: bound to the only configured address, or to all interfaces. */
function bindAddresses(options: RtcOptions): {
  addresses: string[];
  socketAddresses: { udp4?: string; udp6?: string };
} {
  const own = options.interfaceAddresses.length > 0 ? options.interfaceAddresses : localAddresses(options.ipv6);
  const v4 = own.filter((address) => isIP(address) === 4);
  const v6 = options.ipv6 ? own.filter((address) => isIP(address) === 6) : [];
  const bindOne = (list: readonly string[]) =>
    options.interfaceAddresses.length > 0 && list.length === 1 ? list[0] : undefined;
  const udp4 = bindOne(v4);
  const udp6 = bindOne(v6);
  return {
    addresses: [v4[0], v6[0]].filter((address) => address !== undefined),
    socketAddresses: { ...(udp4 === undefined ? {} : { udp4 }), ...(udp6 === undefined ? {} : { udp6 }) },
  };
}

/** A random SSRC that is not 0 (RFC 3550 section 8.1). */
export function randomSsrc(): number {
  return randomInt(1, 0xffffffff);
}
