import { isIP } from 'node:net';

/**
 * One spelling for one address: lower case, shortest form, no zone; IPv4 mapped into IPv6 (RFC 4291 section 2.5.5.2) in any
 * of its spellings is the IPv4 address. The WHATWG URL parser does the shortening.
 * @returns undefined for text that is no IP address
 */
export function canonicalAddress(text: string): string | undefined {
  const [bare = ''] = text.split('%');
  const version = isIP(bare);
  if (version === 4) return bare;
  if (version !== 6) return undefined;
  const short = new URL(`http://[${bare}]`).hostname.slice(1, -1);
  const mapped = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short);
  if (mapped === null) return short;
  const [high, low] = [parseInt(mapped[1] ?? '', 16), parseInt(mapped[2] ?? '', 16)];
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** 127.0.0.0/8 or ::1, in any spelling that is an address; a name that begins with "127." is none. */
export function isLoopbackAddress(text: string): boolean {
  const address = canonicalAddress(text);
  return address === '::1' || (address !== undefined && isIP(address) === 4 && address.startsWith('127.'));
}

/**
 * A host as it stands in a URL or a Host header, without its port: canonical as browsers write it (`0x7f.1` is 127.0.0.1,
 * RFC 6761 section 6.3 gives `localhost` and names below it to loopback), IPv6 in brackets.
 * @returns undefined when it is no host
 */
export function hostName(host: string): string | undefined {
  if (!/^[a-z0-9._:[\]-]+$/i.test(host) || !URL.canParse(`http://${host}`)) return undefined;
  return new URL(`http://${host}`).hostname.replace(/\.$/, '');
}

/** Whether a host (as `hostName` takes it) names this machine's loopback interface and no other machine can own the name. */
export function isLoopbackHost(host: string): boolean {
  const name = hostName(isIP(host) === 6 ? `[${host}]` : host);
  if (name === undefined) return false;
  return name === 'localhost' || name.endsWith('.localhost') || isLoopbackAddress(name.replace(/^\[|\]$/g, ''));
}
