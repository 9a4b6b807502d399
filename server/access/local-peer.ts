import { BlockList } from 'node:net';
import { isLoopbackAddress, isLoopbackHost } from './address.ts';
import { clientAddress, contains, networkList, type TrustProxy } from './client-address.ts';

/** What access by address needs of a request; Node's IncomingMessage fits. */
export interface AddressedRequest {
  readonly socket: { readonly remoteAddress?: string | undefined };
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>;
}

/** Whom a setting names: this machine alone, every client, or these addresses and networks. */
export type NamedClients = 'loopback' | 'all' | readonly string[];

/** Headers that a proxy adds: a request that has one comes from elsewhere, whatever address the socket shows. */
const PROXY_HEADERS = ['forwarded', 'x-forwarded-for', 'x-forwarded-host', 'x-real-ip', 'via'] as const;

/**
 * A program on this machine that asked for this machine: loopback peer, no proxy in between, and a Host that no foreign page
 * can have (DNS rebinding: a page of evil.example whose name was pointed at 127.0.0.1 sends its own name as Host).
 */
export function isLocalRequest({ socket, headers }: AddressedRequest): boolean {
  const { host } = headers;
  return (
    isLoopbackAddress(socket.remoteAddress ?? '') &&
    typeof host === 'string' &&
    isLoopbackHost(host) &&
    PROXY_HEADERS.every((name) => headers[name] === undefined)
  );
}

/** The client behind a request, as far as `trust` believes the proxies in between. */
export function addressOf({ socket, headers }: AddressedRequest, trust: TrustProxy): string {
  const forwarded = headers['x-forwarded-for'];
  const text = typeof forwarded === 'string' ? forwarded : forwarded?.join(',');
  return clientAddress(socket.remoteAddress ?? '', text, trust);
}

/** Whether a setting names the client of a request; what this machine may do besides is not asked here. */
export function isNamed(request: AddressedRequest, clients: NamedClients, trust: TrustProxy): boolean {
  if (clients === 'all') return true;
  if (clients === 'loopback') return false;
  const networks: BlockList = networkList(clients);
  return contains(networks, addressOf(request, trust));
}
