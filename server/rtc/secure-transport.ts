import { randomInt } from 'node:crypto';
import { isIP, isIPv6 } from 'node:net';
import {
  Candidate,
  CandidatePair,
  Connection,
  DtlsClient,
  DtlsServer,
  ProtectionProfileAeadAes128Gcm,
  ProtectionProfileAes128CmHmacSha1_80,
  StunProtocol,
  candidateFoundation,
  candidatePriority,
  classes,
  isDtls,
  parseMessage,
  serverReflexiveCandidate,
} from 'werift';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import {
  bindAddresses,
  candidateLine,
  isAnyAddress,
  localAddresses,
  parseCandidate,
  readIceServers,
} from './candidates.ts';
import { certificate, fingerprintMatches } from './dtls-certificate.ts';
import { ALERT, hasForgedRecord, safely, type RecordCipher } from './dtls-records.ts';
import type { IceCandidate, PeerState, RtcOptions } from './peers.ts';
import { SrtpReceiver, SrtpSender, saltBytes, type SrtpKeys, type SrtpProfile } from './srtp.ts';
import { UdpSocket, type Address } from './udp-socket.ts';

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
  onCandidate(candidate: IceCandidate): void;
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

type Protocol = InstanceType<typeof CandidatePair>['protocol'];

/** The parts of werift's ICE that its types keep private. */
interface IceInternals {
  readonly protocols: Protocol[];
  ensureProtocol(protocol: Protocol): void;
  appendLocalCandidate(candidate: Candidate): void;
}
interface StunInternals {
  datagramReceived(data: Buffer, address: Address): void;
}

/** Where packets go: through one of our sockets, or through a TURN relay. */
type Route = { readonly address: Address } & ({ readonly socket: UdpSocket } | { readonly relay: Protocol });

/** Level warning, description close_notify. */
const CLOSE_NOTIFY = Buffer.from([1, 0]);
const GATHER_WAIT_MS = 1000;
const MAX_REMOTE_CANDIDATES = 64;
const MAX_VALIDATED_ADDRESSES = 64;
/**
 * Our consent checks (RFC 7675) are answered every 4 to 6 s even by a peer that sends nothing else: silence longer than
 * that means the path is gone.
 */
const DISCONNECTED_AFTER_US = 8_000_000;
const CLOSED_AFTER_US = 20_000_000;
const TRIM_INTERVAL_US = 60_000_000;
const CONNECT_WITHIN_US = 30_000_000;
const PROFILES: readonly [number, SrtpProfile][] = [
  [ProtectionProfileAeadAes128Gcm, 'AEAD_AES_128_GCM'],
  [ProtectionProfileAes128CmHmacSha1_80, 'AES128_CM_HMAC_SHA1_80'],
];

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
  #dtlsSink: ((data: Buffer) => true) | undefined;
  #setup: 'active' | 'passive' = 'passive';
  #fingerprint = '';
  #sender: SrtpSender | undefined;
  #receiver: SrtpReceiver | undefined;
  #route: Route | undefined;
  #nominated: CandidatePair | undefined;
  #lastReceivedUs: MonotonicUs = 0;
  #trimmedAtUs: MonotonicUs = 0;
  readonly #stunServer: Address | undefined;
  readonly #sockets = new Map<Protocol, UdpSocket>();
  #validated = new Set<string>();
  #answered = false;
  #gathered = false;
  #remoteCandidates = 0;
  #closing: Promise<void> | undefined;

  constructor(options: RtcOptions, listener: TransportListener) {
    this.#options = options;
    this.#listener = listener;
    const servers = readIceServers(options);
    this.#ice = new Connection(false, {
      // Host candidates are made here (#openSockets), not by werift: it binds every interface when none matches its filter.
      useIpv4: false,
      useIpv6: false,
      turnServer: servers.turnServer,
      turnUsername: servers.turnUsername,
      turnPassword: servers.turnPassword,
      turnTransport: servers.turnTransport,
    });
    // Without a configured server werift falls back to a public one of its own; we never contact what nobody configured.
    this.#ice.stunServer = servers.stunServer;
    this.#stunServer = servers.stunServer;
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

  async addCandidate(json: IceCandidate): Promise<void> {
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
    if (nowUs - this.#trimmedAtUs > TRIM_INTERVAL_US) {
      this.#trimmedAtUs = nowUs;
      this.#trim();
    }
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
    this.#sayGoodbye();
    this.#setState('closed');
    this.#sender = undefined;
    this.#receiver = undefined;
    this.#route = undefined;
    this.#dtlsSink = undefined;
    await this.#ice.close().catch(() => undefined);
    // After a close in the middle of gathering some are not in werift's list yet.
    await Promise.all([...this.#sockets.values()].map((socket) => socket.close()));
    this.#sockets.clear();
    this.#ice.onData.complete();
    this.#ice.onIceCandidate.complete();
    this.#ice.stateChanged.complete();
  }

  /** werift remembers every STUN request of a pair, to count retransmissions, and every handshake fragment. */
  #trim(): void {
    const dtls = this.#dtls as unknown as { bufferFragmentedHandshakes: unknown[] } | undefined;
    if (dtls !== undefined && this.secure) dtls.bufferFragmentedHandshakes = [];
    for (const pair of this.#ice.candidatePairs) {
      (pair as unknown as { readonly requestTransactionIds: Set<string> }).requestTransactionIds.clear();
    }
  }

  /** A close_notify alert (RFC 5246 section 7.2.1): the far side learns at once, not by half a minute of silence. */
  #sayGoodbye(): void {
    const dtls = this.#dtls;
    if (dtls === undefined || !this.secure) return;
    try {
      // werift sends application data only: the record's type is changed on its way to the cipher.
      const encrypt = dtls.cipher.encryptPacket.bind(dtls.cipher);
      dtls.cipher.encryptPacket = (record) => {
        record.recordLayerHeader.contentType = ALERT;
        return encrypt(record);
      };
      dtls.send(CLOSE_NOTIFY).catch(() => undefined);
    } catch {
      // Closing goes on without it.
    }
  }

  #throwIfClosed(): void {
    if (this.#state === 'closed') throw new AppError('request.unknownSession', 'The peer connection is closed.');
  }

  async #gather(): Promise<void> {
    await this.#openSockets();
    if (this.#state === 'closed') await this.#ice.close(); // closed while the sockets were being opened
    this.#throwIfClosed();
    // Host candidates are there at once, TURN and STUN take their time: later ones trickle.
    const gathering = Promise.all([this.#ice.gatherCandidates(), this.#gatherReflexive()]).catch(() => undefined);
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, GATHER_WAIT_MS);
    });
    this.#gathered = false;
    void gathering.then(() => (this.#gathered = true));
    await Promise.race([gathering, patience]);
    clearTimeout(timer);
    this.#throwIfClosed();
  }

  /** One socket per address to bind; an ICE restart keeps them. @throws AppError peer.connection */
  async #openSockets(): Promise<void> {
    if (this.#sockets.size > 0) return;
    const internals = this.#ice as unknown as IceInternals;
    let problem: unknown;
    for (const address of bindAddresses(this.#options)) {
      try {
        const socket = await UdpSocket.open(address, this.#options.portRange);
        const protocol = new StunProtocol();
        protocol.transport = socket as unknown as StunProtocol['transport'];
        protocol.localIp = address;
        const host = isAnyAddress(address) ? (localAddresses(isIPv6(address))[0] ?? address) : address;
        protocol.localCandidate = new Candidate(
          candidateFoundation('host', 'udp', host),
          1,
          'udp',
          candidatePriority('host', { transport: 'udp' }),
          host,
          socket.port,
          'host',
          undefined,
          undefined,
          undefined,
          this.#ice.generation,
          this.#ice.localUsername,
        );
        socket.onData = (data, from) => this.#onSocketData(data, from, socket, protocol);
        internals.ensureProtocol(protocol);
        internals.protocols.push(protocol); // gatherCandidates() announces what is in here
        this.#sockets.set(protocol, socket);
      } catch (error) {
        problem = error;
      }
    }
    if (this.#sockets.size > 0) return;
    await this.close();
    const reason = problem instanceof Error ? problem.message : 'no usable local address';
    throw new AppError('peer.connection', `No UDP socket could be opened for this peer: ${reason}.`, {
      cause: problem,
      remedy: 'Check ice.portRange (one port per peer and address) and ice.interfaceAddresses.',
    });
  }

  async #gatherReflexive(): Promise<void> {
    const server = this.#stunServer;
    if (server === undefined) return;
    const internals = this.#ice as unknown as IceInternals;
    const generation = this.#ice.generation;
    const ask = [...this.#sockets.keys()].map(async (protocol) => {
      const candidate = await serverReflexiveCandidate(protocol, server);
      if (candidate !== undefined && this.#ice.generation === generation && this.#state !== 'closed') {
        internals.appendLocalCandidate(candidate);
      }
    });
    await Promise.allSettled(ask);
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
      gatheringComplete: this.#gathered,
    };
  }

  /**
   * A host candidate stands for its socket: it is announced with every address the socket can be reached under - its own
   * or, when it listens on all interfaces, all of them - and with the configured additional ones (NAT, containers).
   */
  #announce(candidate: Candidate): string[] {
    if (candidate.type !== 'host') return [candidateLine(candidate, candidate.host, candidate.priority)];
    const family = isIPv6(candidate.host) ? 6 : 4;
    const all = this.#options.interfaceAddresses.length === 0;
    const own = all ? localAddresses(family === 6) : [candidate.host];
    const additional = this.#options.additionalHostAddresses.filter((address) => isIP(address) === family);
    return [...new Set([...additional, ...own])].map((address, rank) =>
      candidateLine(candidate, address, candidatePriority('host', 65535 - rank)),
    );
  }

  #onLocalCandidate(candidate: Candidate): void {
    if (!this.#answered) return;
    for (const text of this.#announce(candidate)) this.#listener.onCandidate({ candidate: text, sdpMLineIndex: 0 });
  }

  /** Media needs none of werift's per-packet work, and unauthenticated STUN stops here. */
  #onSocketData(data: Buffer, from: Address, socket: UdpSocket, protocol: StunProtocol): void {
    const first = data[0];
    if (first === undefined) return;
    if (first >= 4) this.#onDatagram(data, { socket, address: from });
    else if (this.#acceptsStun(data, from)) (protocol as unknown as StunInternals).datagramReceived(data, from);
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
      const dtls = this.#dtls as unknown as { readonly cipher: RecordCipher } | undefined;
      const forged = this.secure && dtls !== undefined && hasForgedRecord(data, dtls.cipher);
      if (forged || !isDtls(data) || (route !== undefined && !this.#validated.has(addressKey(route.address)))) {
        this.counters.packetsRefused += 1;
        return;
      }
      if (route !== undefined && this.#ice.nominated === undefined && !this.secure) this.#route = route;
      this.#lastReceivedUs = nowUs;
      // werift reads lengths without looking whether the bytes are there.
      if (safely(() => this.#dtlsSink?.(data) ?? true) === undefined) this.counters.packetsRefused += 1;
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
    this.#dtlsSink = (data) => {
      socket.onData(data);
      return true;
    };
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
    if (this.#nominated === pair && this.#route?.address[0] === host && this.#route.address[1] === port) return;
    this.#nominated = pair;
    const socket = this.#sockets.get(pair.protocol);
    const address: Address = [host, port];
    this.#route = socket === undefined ? { relay: pair.protocol, address } : { socket, address };
  }

  #send(data: Buffer): void {
    if (this.#route === undefined) this.#followNomination();
    const route = this.#route;
    if (route === undefined) return;
    this.counters.packetsSent += 1;
    this.counters.bytesSent += data.length;
    if ('socket' in route) route.socket.sendNow(data, route.address[1], route.address[0]);
    else route.relay.sendData(data, route.address).catch(() => undefined);
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

/** A random SSRC that is not 0 (RFC 3550 section 8.1). */
export function randomSsrc(): number {
  return randomInt(1, 0xffffffff);
}
