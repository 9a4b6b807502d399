import { lookup as systemLookup } from 'node:dns/promises';
import { isIP, type BlockList, type LookupFunction } from 'node:net';
import { AppError } from '../errors.ts';
import { canonicalAddress, hostName } from './address.ts';
import { contains, networkList } from './client-address.ts';

/**
 * Where the server itself may connect: pull sources, push outputs, web hooks. Their addresses come from the operator, but names
 * and redirects are answered by others: what is checked is the IP address that is connected to, after DNS, for every hop.
 */

/** IPv4 that is not global unicast (IANA special-purpose registry, RFC 6890; multicast and reserved: RFC 5771, RFC 1112). */
const SPECIAL_IPV4 = networkList([
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24'],
  ...['192.0.2.0/24', '192.88.99.0/24', '192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24'],
  ...['224.0.0.0/4', '240.0.0.0/4'],
]);
/** Of IPv6 only 2000::/3 is global unicast (RFC 4291): loopback, fc00::/7, fe80::/10, ff00::/8, 64:ff9b::/96 lie outside. */
const GLOBAL_IPV6 = networkList(['2000::/3']);
/** Within it: protocol assignments and Teredo, documentation, 6to4, which can carry any IPv4 address. */
const SPECIAL_IPV6 = networkList(['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']);

/** A resolver that does not answer keeps a source or an output waiting this long. */
const RESOLVE_WITHIN_MS = 5000;
const MAX_REDIRECTS = 5;
/** Schemes over TLS. */
const PROTECTED = ['https:', 'wss:', 'rtsps:', 'rtmps:'];

/** All addresses of a name; the system's resolver unless a test brings another. */
export type Resolver = (host: string) => Promise<readonly { readonly address: string }[]>;

const resolveBySystem: Resolver = (host) => systemLookup(host, { all: true });

/** A target whose addresses are all permitted. Connect to these and resolve nothing again: the second answer may differ. */
export interface CheckedTarget {
  readonly url: URL;
  /** At least one, in the resolver's order; canonical, IPv6 without brackets. */
  readonly addresses: readonly [string, ...string[]];
  /** For http(s).request, tls.connect and net.connect: yields `addresses` whatever name is asked for. */
  readonly lookup: LookupFunction;
  /** How many redirects have led here. */
  readonly redirects: number;
}

export interface TargetSettings {
  /** Addresses and networks that are permitted though they are not global, such as 192.168.0.0/16. */
  readonly allow: readonly string[];
}

export class TargetPolicy {
  readonly #allowed: BlockList;
  readonly #resolve: Resolver;

  constructor({ allow }: TargetSettings, resolve: Resolver = resolveBySystem) {
    this.#allowed = networkList(allow);
    this.#resolve = resolve;
  }

  /** Whether the server may connect to this IP address, or send to it; anything that is no address is refused. */
  permits(text: string): boolean {
    const address = canonicalAddress(text);
    if (address === undefined) return false;
    if (contains(this.#allowed, address)) return true;
    if (isIP(address) === 4) return !contains(SPECIAL_IPV4, address);
    return contains(GLOBAL_IPV6, address) && !contains(SPECIAL_IPV6, address);
  }

  /**
   * @param schemes allowed ones, as URL.protocol has them: `['https:', 'http:']`
   * @throws AppError target.refused | target.unreachable; no message has user, password, path or query
   */
  async resolve(target: string | URL, schemes: readonly string[]): Promise<CheckedTarget> {
    return this.#check(target, schemes, 0);
  }

  /**
   * The next hop after `from` answered with a redirect.
   * @param location as the header has it, relative or absolute
   * @throws AppError target.refused: too many, from a protected scheme to an open one, or as resolve()
   */
  async redirect(from: CheckedTarget, location: string, schemes: readonly string[]): Promise<CheckedTarget> {
    if (from.redirects >= MAX_REDIRECTS) throw refused(from.url, `it redirects more than ${MAX_REDIRECTS} times`);
    if (!URL.canParse(location, from.url.href)) throw refused(from.url, 'it redirects to something that is no URL');
    const next = new URL(location, from.url);
    if (PROTECTED.includes(from.url.protocol) && !PROTECTED.includes(next.protocol)) {
      throw refused(from.url, `it redirects from ${from.url.protocol} to ${next.protocol}, which is not encrypted`);
    }
    return this.#check(next, schemes, from.redirects + 1);
  }

  async #check(target: string | URL, schemes: readonly string[], redirects: number): Promise<CheckedTarget> {
    if (typeof target === 'string' && !URL.canParse(target)) throw refused(undefined, 'it is no URL');
    const url = new URL(target);
    if (!schemes.includes(url.protocol)) {
      throw refused(url, `its scheme is not ${schemes.map((scheme) => scheme.replace(/:$/, '')).join(', ')}`);
    }
    const host = hostName(url.hostname)?.replace(/^\[|\]$/g, '');
    if (host === undefined) throw refused(url, 'it names no host');
    const found = isIP(host) === 0 ? await this.#addressesOf(host, url) : [canonicalAddress(host) ?? host];
    // Both families are usual; a name that mixes permitted and other addresses can only be reached at the permitted ones.
    const [first, ...rest] = found.filter((address) => this.permits(address));
    if (first === undefined) {
      const which = found.length === 1 ? `its address ${found[0]} is` : 'its addresses are';
      throw refused(url, `${which} private, local or otherwise not global`);
    }
    const addresses = [first, ...rest] as const;
    return { url, addresses, lookup: lookupOf(addresses), redirects };
  }

  async #addressesOf(host: string, url: URL): Promise<string[]> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new Error('the resolver does not answer')), RESOLVE_WITHIN_MS);
    });
    try {
      const found = await Promise.race([this.#resolve(host), late]);
      const addresses = found.flatMap(({ address }) => canonicalAddress(address) ?? []);
      if (addresses.length === 0) throw new Error('the name has no address');
      return addresses;
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new AppError('target.unreachable', `The name of ${shownTarget(url)} cannot be resolved: ${reason}.`, {
        cause,
        context: { target: shownTarget(url) },
      });
    } finally {
      clearTimeout(timer);
    }
  }
}

/** For messages and logs: scheme, host and port; user, password, path and query may be secrets. */
export function shownTarget(url: URL): string {
  return `${url.protocol}//${url.host}`;
}

/** Where an answer with this status leads: RFC 9110 section 15.4, the kinds that name another place for the same request. */
export function isRedirect(status: number): boolean {
  return [301, 302, 303, 307, 308].includes(status);
}

function lookupOf(addresses: readonly [string, ...string[]]): LookupFunction {
  const all = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_host, options, callback) => {
    const { family } = options;
    const wanted = family === 4 || family === 'IPv4' ? 4 : family === 6 || family === 'IPv6' ? 6 : 0;
    const fitting = all.filter((entry) => wanted === 0 || entry.family === wanted);
    const [first] = fitting;
    if (first === undefined) {
      callback(
        Object.assign(new Error('The target has no permitted address of this family'), { code: 'ENOTFOUND' }),
        '',
      );
    } else if (options.all === true) callback(null, fitting);
    else callback(null, first.address, first.family);
  };
}

function refused(url: URL | undefined, reason: string): AppError {
  const target = url === undefined ? undefined : shownTarget(url);
  return new AppError(
    'target.refused',
    `The target${target === undefined ? '' : ` ${target}`} is refused: ${reason}.`,
    {
      context: { target, reason },
    },
  );
}
