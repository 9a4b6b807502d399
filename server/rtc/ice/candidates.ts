import { createHash } from 'node:crypto';
import { BlockList, isIP, isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { parseIceServers } from 'werift';
import { AppError } from '../../errors.ts';
import type { RtcOptions } from '../peers.ts';
import { currentIceServers } from './turn-credentials.ts';

/** ICE candidates as text, and which addresses of this machine they are made from. */

export type CandidateType = 'host' | 'srflx' | 'prflx' | 'relay';

/** UDP, component 1: RTP and RTCP share it. */
export interface Candidate {
  readonly type: CandidateType;
  readonly host: string;
  readonly port: number;
  readonly priority: number;
  readonly related?: { readonly host: string; readonly port: number } | undefined;
}

/** RFC 8445 section 5.1.2.2. */
const TYPE_PREFERENCE: Readonly<Record<CandidateType, number>> = { host: 126, prflx: 110, srflx: 100, relay: 0 };

/** RFC 8445 section 5.1.2.1. @param localPreference 0..65535, higher is tried first */
export function candidatePriority(type: CandidateType, localPreference = 65535): number {
  return TYPE_PREFERENCE[type] * 2 ** 24 + localPreference * 2 ** 8 + 255;
}

/** The value of a=candidate (RFC 8839 section 5.1). */
export function candidateLine({ type, host, port, priority, related }: Candidate): string {
  const foundation = createHash('sha256').update(`${type}|${host}`).digest('hex').slice(0, 16);
  const base = related === undefined ? '' : ` raddr ${related.host} rport ${related.port}`;
  return `candidate:${foundation} 1 udp ${priority} ${host} ${port} typ ${type}${base}`;
}

/** @returns undefined for TCP, other components, host names and malformed text */
export function parseCandidate(text: string): Candidate | undefined {
  const match =
    /^(?:a=)?candidate:\S{1,64} (\d{1,5}) (\S{1,16}) (\d{1,10}) (\S{1,64}) (\d{1,5}) typ (host|srflx|prflx|relay)\b/i.exec(
      text,
    );
  if (match === null) return undefined;
  const [, component, protocol = '', priority, host = '', port, type = ''] = match;
  const portNumber = Number(port);
  if (protocol.toLowerCase() !== 'udp' || component !== '1' || portNumber < 1 || portNumber > 65535) return undefined;
  if (isIP(host) === 0) return undefined;
  return {
    type: type.toLowerCase() as CandidateType,
    host,
    port: portNumber,
    priority: Math.min(Number(priority), 0xffffffff),
  };
}

/** Addresses of this machine's interfaces of one family, without loopback and link-local ones. */
export function localAddresses(ipv6: boolean): string[] {
  const addresses: string[] = [];
  for (const infos of Object.values(networkInterfaces())) {
    for (const info of infos ?? []) {
      const linkLocal = info.address.startsWith('fe80:') || info.address.startsWith('169.254.');
      if (!info.internal && !linkLocal && info.family === (ipv6 ? 'IPv6' : 'IPv4')) addresses.push(info.address);
    }
  }
  // A machine without a network still serves itself.
  return addresses.length === 0 && !ipv6 ? ['127.0.0.1'] : addresses;
}

export function isAnyAddress(address: string): boolean {
  return address === '0.0.0.0' || address === '::';
}

const LOOPBACK = subnets(['127.0.0.0', 8], ['::1', 128]);
/** RFC 6890 and its registries: private, shared, link-local, documentation, multicast, reserved. */
const NOT_GLOBAL = subnets(
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
  ['::', 96],
  ['::ffff:0:0', 96],
  ['64:ff9b::', 96],
  ['100::', 64],
  ['2001:db8::', 32],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
);

/** One list a family: BlockList applies ::ffff:0:0/96 to every IPv4 address. */
function subnets(...networks: readonly (readonly [string, number])[]): Readonly<Record<'ipv4' | 'ipv6', BlockList>> {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const [network, prefix] of networks) lists[familyOf(network)].addSubnet(network, prefix, familyOf(network));
  return lists;
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv6(address) ? 'ipv6' : 'ipv4';
}

export function isLoopback(address: string): boolean {
  return LOOPBACK[familyOf(address)].check(address, familyOf(address));
}

/** An address that anybody on the internet can send to. */
export function isPublicAddress(address: string): boolean {
  return !NOT_GLOBAL[familyOf(address)].check(address, familyOf(address));
}

/** The same, and none of this machine's. */
export function isGlobal(address: string): boolean {
  return isPublicAddress(address) && !localAddresses(isIPv6(address)).includes(address);
}

/** One socket for each configured address, or one per family for all interfaces. */
export function bindAddresses({ interfaceAddresses, ipv6 }: RtcOptions): readonly string[] {
  const usable = interfaceAddresses.filter((address) => ipv6 || !isIPv6(address));
  if (interfaceAddresses.length > 0) return usable;
  return ipv6 && localAddresses(true).length > 0 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
}

/** @throws AppError config.invalid */
export function readIceServers(options: Pick<RtcOptions, 'servers'>): ReturnType<typeof parseIceServers> {
  const refuse = (reason: string) => new AppError('config.invalid', `ice.servers: ${reason}`);
  for (const { urls, username, credential, secret, lifetimeSeconds } of options.servers) {
    // RFC 7064 and RFC 7065: scheme, host, optional port and transport.
    const match = /^(stun|stuns|turn|turns):(?:\[[\da-f:]+\]|[\w.-]+)(?::\d{1,5})?(?:\?transport=(?:udp|tcp))?$/i.exec(
      urls,
    );
    if (match === null) throw refuse(`"${urls}" is not of the form stun:host:port or turn:host:port?transport=udp.`);
    const relay = match[1]?.toLowerCase().startsWith('turn') === true;
    if (relay && secret === undefined && (username === undefined || credential === undefined)) {
      throw refuse(`"${urls}" needs a username and a credential, or a secret.`);
    }
    if (secret !== undefined && (!relay || credential !== undefined)) {
      throw refuse(
        `"${urls}" has a secret ${relay ? 'and a credential; one of them decides' : 'but is no TURN server'}.`,
      );
    }
    if (lifetimeSeconds !== undefined && secret === undefined) {
      throw refuse(`"${urls}" has lifetimeSeconds without the secret that it belongs to.`);
    }
  }
  return parseIceServers(currentIceServers(options.servers).map((server) => ({ ...server })));
}
