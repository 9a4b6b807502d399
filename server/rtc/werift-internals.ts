import { Candidate, CandidatePair, Connection, StunProtocol } from 'werift';
import type { Address, UdpSocket } from './udp-socket.ts';

/**
 * Every use of werift's private members, so that a new version of werift has one file to be checked against;
 * test/werift-internals.test.ts fails when one of the members is gone.
 */
export const WERIFT_VERSION = '0.25.2';

export type IceConnection = InstanceType<typeof Connection>;
export type IceProtocol = InstanceType<typeof CandidatePair>['protocol'];

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
