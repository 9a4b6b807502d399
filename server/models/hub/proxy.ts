import { request as httpRequest, type IncomingMessage, type RequestOptions } from 'node:http';
import { request as httpsRequest, type RequestOptions as SecureRequestOptions } from 'node:https';
import { Readable } from 'node:stream';
import type { Socket } from 'node:net';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

/**
 * `fetch` through the proxy that HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY name (small letters too), which Node's own
 * fetch learned with version 24 only. http targets are asked for by their full address (RFC 9112 section 3.2.2), https ones
 * through a tunnel (RFC 9110 section 9.3.6), so a proxy never sees what is fetched there, nor the token.
 */
export type Environment = Readonly<Record<string, string | undefined>>;

export interface FetchInit {
  readonly method: 'GET' | 'HEAD';
  readonly headers: Readonly<Record<string, string>>;
  readonly signal: AbortSignal;
}

/** @param trust further certificate authorities, for tests. Redirects are not followed. @throws TypeError-like network errors */
export async function fetchWithProxy(
  url: string,
  init: FetchInit,
  environment: Environment = process.env,
  trust: ConnectionOptions['ca'] = undefined,
): Promise<Response> {
  const proxy = proxyFor(url, environment);
  if (proxy === undefined) return fetch(url, { ...init, redirect: 'manual' });
  const target = new URL(url);
  const { method, headers, signal } = init;
  const options: SecureRequestOptions = { method, headers: { ...headers, host: target.host }, signal, agent: false };
  if (target.protocol === 'http:') {
    return send(proxy, { ...options, path: url, headers: { ...options.headers, ...authorization(proxy) } });
  }
  const tunnel = await openTunnel(proxy, target, signal);
  const socket = connectTls({ socket: tunnel, servername: target.hostname, ...(trust && { ca: trust }) });
  // An agent would open its own connections.
  const { agent: _none, ...rest } = options;
  return send(target, { ...rest, createConnection: () => socket });
}

/** @returns undefined when this address is to be reached directly */
export function proxyFor(url: string, environment: Environment): URL | undefined {
  const { protocol, hostname, port } = new URL(url);
  const read = (name: string): string | undefined => environment[name.toLowerCase()] ?? environment[name.toUpperCase()];
  const named = read(protocol === 'https:' ? 'HTTPS_PROXY' : 'HTTP_PROXY') ?? read('ALL_PROXY');
  if (named === undefined || named === '') return undefined;
  const direct = (read('NO_PROXY') ?? '').split(',').some((entry) => {
    const [host = '', only] = entry
      .trim()
      .replace(/^\*?\./, '')
      .toLowerCase()
      .split(':');
    if (host === '*') return true;
    if (host === '' || (only !== undefined && only !== (port || (protocol === 'https:' ? '443' : '80')))) return false;
    return hostname === host || hostname.endsWith(`.${host}`);
  });
  return direct ? undefined : new URL(named.includes('://') ? named : `http://${named}`);
}

function authorization({ username, password }: URL): Record<string, string> {
  if (username === '') return {};
  const pair = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` };
}

function openTunnel(proxy: URL, target: URL, signal: AbortSignal): Promise<Socket> {
  const place = `${target.hostname}:${target.port || '443'}`;
  return new Promise((resolve, reject) => {
    const ask = proxy.protocol === 'https:' ? httpsRequest : httpRequest;
    const asking = ask(proxy, {
      method: 'CONNECT',
      path: place,
      headers: { host: place, ...authorization(proxy) },
      signal,
      agent: false,
    });
    asking.on('connect', ({ statusCode }: IncomingMessage, socket: Socket) => {
      if (statusCode === 200) return resolve(socket);
      socket.destroy();
      return reject(new Error(`the proxy ${proxy.host} answered ${statusCode ?? 0} when asked for ${place}`));
    });
    asking.on('error', reject);
    asking.end();
  });
}

function send(place: URL, options: SecureRequestOptions): Promise<Response> {
  return new Promise((resolve, reject) => {
    const ask = place.protocol === 'https:' && options.createConnection === undefined ? httpsRequest : httpRequest;
    const asking = ask(
      {
        ...options,
        ...(options.path === undefined ? { path: `${place.pathname}${place.search}` } : {}),
        ...hostOf(place),
      },
      (answer) => resolve(responseOf(answer, options.method ?? 'GET')),
    );
    asking.on('error', reject);
    asking.end();
  });
}

function hostOf({ hostname, port, protocol }: URL): RequestOptions {
  return { hostname, port: port || (protocol === 'https:' ? 443 : 80) };
}

function responseOf(answer: IncomingMessage, method: string): Response {
  const { statusCode: status = 502, headers } = answer;
  const empty = method === 'HEAD' || status === 204 || status === 304;
  if (empty) answer.resume();
  const pairs = Object.entries(headers).flatMap(([name, value]) =>
    value === undefined ? [] : [[name, Array.isArray(value) ? value.join(', ') : value] as [string, string]],
  );
  const body = empty ? null : (Readable.toWeb(answer) as ReadableStream<Uint8Array>);
  return new Response(body, { status, headers: pairs });
}
