import { Candidate, CandidatePair, Connection, DtlsClient, DtlsServer, StunProtocol, isDtls } from 'werift';
import { safely } from './safely.ts';
import type { Address, UdpSocket } from './udp-socket.ts';

/**
 * Every use of werift's private members, so that a new version of werift has one file to be checked against;
 * test/werift-internals.test.ts fails when one of the members is gone.
 */
export const WERIFT_VERSION = '0.25.2';

export type IceConnection = InstanceType<typeof Connection>;
export type IceProtocol = InstanceType<typeof CandidatePair>['protocol'];
export type WeriftDtls = DtlsServer | DtlsClient;
type DtlsTransport = ConstructorParameters<typeof DtlsServer>[0]['transport'];

/** werift's CipherContext, of which only this is used. */
export interface RecordCipher {
  decryptPacket(record: unknown): Buffer;
}

/** A StunProtocol over one of our sockets, known to the connection: gatherCandidates() announces it. */
export function addSocket(
  connection: IceConnection,
  socket: UdpSocket,
  address: string,
  localCandidate: Candidate,
): StunProtocol {
  const protocol = new StunProtocol();
  protocol.transport = socket as unknown as StunProtocol['transport'];
  protocol.localIp = address;
  protocol.localCandidate = localCandidate;
  const internals = connection as unknown as {
    readonly protocols: IceProtocol[];
    ensureProtocol(protocol: IceProtocol): void;
  };
  internals.ensureProtocol(protocol);
  internals.protocols.push(protocol);
  return protocol;
}

export function appendLocalCandidate(connection: IceConnection, candidate: Candidate): void {
  (connection as unknown as { appendLocalCandidate(candidate: Candidate): void }).appendLocalCandidate(candidate);
}

export function receiveStun(protocol: StunProtocol, data: Buffer, from: Address): void {
  (protocol as unknown as { datagramReceived(data: Buffer, address: Address): void }).datagramReceived(data, from);
}

/** werift keeps the transaction id of every request it has received on a pair. */
export function forgetRequests(connection: IceConnection): void {
  for (const pair of connection.candidatePairs) {
    (pair as unknown as { readonly requestTransactionIds: Set<string> }).requestTransactionIds.clear();
  }
}

/** werift keeps every handshake fragment. */
export function forgetHandshake(dtls: WeriftDtls): void {
  (dtls as unknown as { bufferFragmentedHandshakes: unknown[] }).bufferFragmentedHandshakes = [];
}

export function recordCipher(dtls: WeriftDtls): RecordCipher {
  return (dtls as unknown as { readonly cipher: RecordCipher }).cipher;
}

/** The datagram path of a DTLS engine; werift assigns onData to be handed what arrives. */
export function dtlsTransport(send: (datagram: Buffer) => void): {
  readonly transport: DtlsTransport;
  /** @returns false for what is not a DTLS record, or cannot be parsed: werift reads lengths without checking them */
  readonly receive: (datagram: Buffer) => boolean;
} {
  const transport = {
    type: 'ice',
    address: {},
    closed: false,
    onData: (_data: Buffer): void => undefined,
    send: async (data: Buffer): Promise<void> => send(data),
    close: async (): Promise<void> => undefined,
  };
  const receive = (datagram: Buffer): boolean => {
    if (!isDtls(datagram)) return false;
    return (
      safely(() => {
        transport.onData(datagram);
        return true;
      }) ?? false
    );
  };
  return { transport: transport as unknown as DtlsTransport, receive };
}

/** Sends one record of another content type than application data, the only one werift sends. Nothing can follow it. */
export function sendLastRecord(dtls: WeriftDtls, contentType: number, content: Buffer): void {
  const { cipher } = dtls;
  const encrypt = cipher.encryptPacket.bind(cipher);
  cipher.encryptPacket = (record) => {
    record.recordLayerHeader.contentType = contentType;
    return encrypt(record);
  };
  dtls.send(content).catch(() => undefined);
}
