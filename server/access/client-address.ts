import { BlockList, isIP } from 'node:net';
import { canonicalAddress } from './address.ts';

/**
 * Which proxies' X-Forwarded-For to trust. `false`: none. A number: this many proxies stand in front of the server, each of
 * which appends the address it sees. A list of addresses and networks (10.0.0.0/8): the first address from the right that is
 * not one of them is the client. The client can have made up anything left of that.
 */
export type TrustProxy = false | number | readonly string[];

/** @param forwardedFor the header's value, several headers joined by commas */
export function clientAddress(remoteAddress: string, forwardedFor: string | undefined, trust: TrustProxy): string {
  const peer = plain(remoteAddress);
  if (trust === false || forwardedFor === undefined) return peer;
  const hops = forwardedFor.split(',').map((address) => plain(address.trim()));
  const trusted = typeof trust === 'number' ? undefined : networkList(trust);
  let client = peer;
  for (let passed = 0; hops.length > 0; passed += 1) {
    if (trusted === undefined ? passed >= (trust as number) : !contains(trusted, client)) return client;
    const next = hops.pop() ?? '';
    // A hop that wrote something else is not to be believed about anything before it.
    if (isIP(next) === 0) return client;
    client = next;
  }
  return client;
}

/** @returns undefined when it is no address and no network */
export function parseNetwork(text: string): { address: string; bits: number; family: 'ipv4' | 'ipv6' } | undefined {
  const [address = '', length] = text.split('/');
  const version = isIP(address);
  if (version === 0) return undefined;
  const most = version === 4 ? 32 : 128;
  const bits = length === undefined ? most : Number(length);
  if (!Number.isInteger(bits) || bits < 0 || bits > most || length === '') return undefined;
  return { address, bits, family: version === 4 ? 'ipv4' : 'ipv6' };
}

export function networkList(list: readonly string[]): BlockList {
  const block = new BlockList();
  for (const text of list) {
    const network = parseNetwork(text);
    if (network !== undefined) block.addSubnet(network.address, network.bits, network.family);
  }
  return block;
}

export function contains(block: BlockList, address: string): boolean {
  const version = isIP(address);
  return version !== 0 && block.check(address, version === 4 ? 'ipv4' : 'ipv6');
}

/** Brackets and port, as some proxies write them, removed; one spelling for one address. */
function plain(address: string): string {
  const bare =
    /^\[([^\]]+)\](?::\d+)?$/.exec(address)?.[1] ?? /^(\d+\.\d+\.\d+\.\d+):\d+$/.exec(address)?.[1] ?? address;
  return canonicalAddress(bare) ?? bare;
}
