import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { createTurnClient } from 'werift';
import type { IceServerSetting } from '../../config/sections/ice.ts';
import { AppError } from '../../errors.ts';
import { UdpSocket, type Address } from '../udp-socket.ts';
import { localAddresses, readIceServers } from './candidates.ts';
import { buildQuery, newTransactionId, parseStun } from './stun.ts';

export { isPublicAddress } from './candidates.ts';

/** What a STUN server sees of this machine, or the relay that a TURN server gave. */
export interface IceServerAnswer {
  readonly kind: 'stun' | 'turn';
  readonly address: Address;
}

/** RFC 8489 section 6.2.1: the first retransmission. */
const RETRANSMIT_MS = 500;

/**
 * Asks one server of `ice.servers` as a session would: a Binding request (RFC 8489), or an Allocate with its credentials (RFC 8656
 * section 7), which is given back at once.
 *
 * @throws AppError config.invalid for a server that cannot be used; peer.connection when it refuses, or does not answer in time
 */
export async function probeIceServer(setting: IceServerSetting, patienceMs: number): Promise<IceServerAnswer> {
  const servers = readIceServers({ servers: [setting] });
  const { stunServer, turnServer, turnTransport = 'udp', turnUsername = '', turnPassword = '' } = servers;
  if (stunServer !== undefined) return { kind: 'stun', address: await askStun(stunServer, patienceMs) };
  if (turnServer === undefined) throw new AppError('config.invalid', `ice.servers: "${setting.urls}" names no server.`);
  const made = createTurnClient(
    { address: turnServer, username: turnUsername, password: turnPassword },
    { transport: turnTransport, connectTimeoutMs: patienceMs },
  );
  try {
    const turn = await within(made, patienceMs);
    const address = turn.relayedAddress;
    await turn.close();
    return { kind: 'turn', address };
  } catch (cause) {
    // Whenever the allocation comes after all, it is not kept.
    made.then((turn) => turn.close()).catch(() => undefined);
    throw unanswered(`${turnServer[0]}:${turnServer[1]}`, cause);
  }
}

async function askStun([name, port]: Address, patienceMs: number): Promise<Address> {
  const socket = await UdpSocket.open('0.0.0.0', undefined);
  let repeat: NodeJS.Timeout | undefined;
  try {
    const host = isIP(name) === 0 ? (await within(lookup(name, { family: 4 }), patienceMs)).address : name;
    const transactionId = newTransactionId();
    const answer = new Promise<Address>((resolve, reject) => {
      socket.onData = (data) => {
        const message = parseStun(data);
        if (message === undefined || !message.transactionId.equals(transactionId)) return;
        const { messageClass, mappedAddress } = message;
        if (messageClass === 'success' && mappedAddress !== undefined) resolve(mappedAddress);
        else reject(new Error('it answers with an error'));
      };
    });
    const ask = (): void => socket.sendNow(buildQuery(transactionId), port, host);
    ask();
    repeat = setInterval(ask, RETRANSMIT_MS);
    return await within(answer, patienceMs);
  } catch (cause) {
    throw unanswered(`${name}:${port}`, cause);
  } finally {
    clearInterval(repeat);
    await socket.close();
  }
}

/** Addresses that peers are told of this machine's own, without loopback. */
export function ownAddresses(): readonly string[] {
  return localAddresses(false).filter((address) => address !== '127.0.0.1');
}

async function within<T>(work: Promise<T>, patienceMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no answer within ${patienceMs / 1000} s`)), patienceMs);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

function unanswered(server: string, cause: unknown): AppError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new AppError('peer.connection', `${server}: ${reason}.`, { cause });
}
