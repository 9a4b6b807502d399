import { isIPv6 } from 'node:net';
import { networkInterfaces } from 'node:os';
import { Candidate, candidateFoundation, parseIceServers } from 'werift';
import { AppError } from '../errors.ts';
import type { RtcOptions } from './peers.ts';

/** ICE candidates as text, and which addresses of this machine they are made from. */

/** The value of a=candidate (RFC 8839 section 5.1) for one address of a local candidate. */
export function candidateLine(candidate: Candidate, host: string, priority: number): string {
  const foundation = candidateFoundation(candidate.type, 'udp', host);
  const { relatedAddress, relatedPort } = candidate;
  const related = relatedAddress === undefined ? '' : ` raddr ${relatedAddress} rport ${relatedPort ?? 9}`;
  return `candidate:${foundation} 1 udp ${priority} ${host} ${candidate.port} typ ${candidate.type}${related}`;
}

/** @returns undefined for TCP, other components and malformed text */
export function parseCandidate(text: string): Candidate | undefined {
  const match = /^(?:a=)?candidate:(\S+) (\d+) (\S+) (\d+) (\S+) (\d+) typ (host|srflx|prflx|relay)\b/i.exec(text);
  if (match === null) return undefined;
  const [, foundation = '', component, protocol = '', priority, host = '', port, type = ''] = match;
  const portNumber = Number(port);
  if (protocol.toLowerCase() !== 'udp' || component !== '1' || portNumber < 1 || portNumber > 65535) return undefined;
  // A peer-reflexive address is only ever learned from a check; as an offered one werift refuses it.
  return new Candidate(foundation, 1, 'udp', Number(priority), host, portNumber, type === 'prflx' ? 'srflx' : type);
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

/** One socket for each configured address, or one per family for all interfaces. */
export function bindAddresses({ interfaceAddresses, ipv6 }: RtcOptions): readonly string[] {
  const usable = interfaceAddresses.filter((address) => ipv6 || !isIPv6(address));
  if (interfaceAddresses.length > 0) return usable;
  return ipv6 && localAddresses(true).length > 0 ? ['0.0.0.0', '::'] : ['0.0.0.0'];
}

/** @throws AppError config.invalid */
export function readIceServers(options: RtcOptions): ReturnType<typeof parseIceServers> {
  const refuse = (reason: string) => new AppError('config.invalid', `ice.servers: ${reason}`);
  for (const { urls, username, credential } of options.servers) {
    // RFC 7064 and RFC 7065: scheme, host, optional port and transport.
    const match = /^(stun|stuns|turn|turns):(?:\[[\da-f:]+\]|[\w.-]+)(?::\d{1,5})?(?:\?transport=(?:udp|tcp))?$/i.exec(
      urls,
    );
    if (match === null) throw refuse(`"${urls}" is not of the form stun:host:port or turn:host:port?transport=udp.`);
    const relay = match[1]?.toLowerCase().startsWith('turn') === true;
    if (relay && (username === undefined || credential === undefined)) {
      throw refuse(`"${urls}" needs a username and a credential.`);
    }
  }
  return parseIceServers(options.servers.map((server) => ({ ...server })));
}
