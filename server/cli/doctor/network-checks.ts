import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { createServer, isIP } from 'node:net';
import { isLoopbackHost } from '../../access/address.ts';
import type { Config } from '../../config/config.ts';
import { readTlsFiles } from '../../http/tls.ts';
import { UdpSocket } from '../../rtc/udp-socket.ts';
import { fail, failed, ok, warn, type Finding } from './finding.ts';
import type { Machine } from './machine.ts';

const DAY_MS = 86_400_000;
/** Time enough to renew a certificate by hand. */
const SOON_MS = 14 * DAY_MS;
/** Of a UDP range, this many ports are tried. */
const MAX_TRIED_PORTS = 512;
/** A TURN server's retransmissions within it cover one lost datagram. */
const SERVER_PATIENCE_MS = 5000;

/** Who may use the server, against who reaches it. */
export function checkAccess({ http, access }: Config, { nowMs }: Machine): Finding[] {
  const { mode = 'open' } = access;
  const reached = !isLoopbackHost(http.host);
  const findings: Finding[] = [];
  if (access.lan) findings.push(ok('access', 'lan: keys are made at the first start'));
  else if (reached && mode === 'open') {
    const remedy = 'Set access.mode to tokens, jwt or webhook (docs/access.md), or keep strangers away by a firewall.';
    findings.push(warn('access', `mode open on ${http.host}: whoever reaches it publishes and watches`, remedy));
  } else findings.push(ok('access', `mode ${mode} on ${http.host}`));
  const ended = access.tokens.filter(({ expires }) => expires !== undefined && Date.parse(expires) <= nowMs());
  if (ended.length > 0) {
    const names = ended.map(({ name }) => name).join(', ');
    findings.push(warn('access', `tokens that have ended: ${names}`, 'Make new ones: `npm run cli -- token`.'));
  }
  const publicHttps = http.publicUrl !== undefined && !isLoopbackHost(new URL(http.publicUrl).hostname);
  if (!reached && publicHttps && http.trustProxy === false && http.localRights === 'auto') {
    const remedy = 'Set http.localRights false, or http.trustProxy to the proxy: a proxy without a header looks local.';
    findings.push(warn('access', 'a proxy on this machine may operate the server without a token', remedy));
  }
  return findings;
}

/** Whether the page's port is free, and permitted. */
export async function checkPort({ http: { host, port } }: Config): Promise<Finding> {
  const where = port === 0 ? `TCP ${host}, any port,` : `TCP ${host}:${port}`;
  const server = createServer();
  try {
    server.listen(port, host);
    await once(server, 'listening');
    return ok('port', `${where} is free`);
  } catch (thrown) {
    const { code, message } = thrown as NodeJS.ErrnoException;
    if (code === 'EADDRINUSE') {
      return fail('port', `${where} is in use`, 'Stop the program that holds it (this server?), or choose --port.');
    }
    if (code === 'EACCES') {
      const remedy = 'Choose a port above 1023, or give the process CAP_NET_BIND_SERVICE.';
      return fail('port', `${where} is not permitted to this user`, remedy);
    }
    if (code === 'EADDRNOTAVAIL') {
      return fail('port', `${host} is no address of this machine`, 'Set http.host to an own address, or 0.0.0.0.');
    }
    return fail('port', `${where}: ${message}`, 'Correct http.host and http.port.');
  } finally {
    server.close();
  }
}

/** Whether media finds UDP ports: one a peer and address. */
export async function checkMediaPorts({ ice, limits }: Config): Promise<Finding> {
  const { portRange } = ice;
  if (portRange === undefined)
    return ok('UDP ports', 'any: a firewall must let all UDP ports in, or set ice.portRange');
  const [first, last] = portRange;
  const tried = Math.min(last - first + 1, MAX_TRIED_PORTS);
  let free = 0;
  for (let port = first; port < first + tried; port += 1) {
    try {
      await (await UdpSocket.open('0.0.0.0', [port, port])).close();
      free += 1;
    } catch {
      // Taken.
    }
  }
  const text = `${first}-${last}: ${free} of ${tried} free`;
  const remedy = 'Stop what holds them, or choose another ice.portRange: every peer takes a port on every address.';
  if (free === 0) return fail('UDP ports', text, remedy);
  if (last - first + 1 - (tried - free) < limits.maxViewers) {
    return warn('UDP ports', `${text}, fewer than limits.maxViewers (${limits.maxViewers})`, remedy);
  }
  return ok('UDP ports', text);
}

/** Certificate and key: there, of each other, valid now and for a while, for the public name. */
export function checkCertificate({ http, access }: Config, { nowMs }: Machine): Finding {
  const check = 'certificate';
  let files: ReturnType<typeof readTlsFiles>;
  try {
    files = readTlsFiles(http);
  } catch (thrown) {
    return failed(check, thrown);
  }
  if (files === undefined) return withoutCertificate(http, access.lan);
  const certificate = new X509Certificate(files.cert);
  const { subject, validFrom, validTo } = certificate;
  const name = `${http.tlsCertificateFile ?? ''} (${subject.replaceAll('\n', ', ')})`;
  const renew = 'Renew it, name the new files, and start again.';
  if (Date.parse(validTo) <= nowMs()) return fail(check, `${name} has expired on ${day(validTo)}`, renew);
  if (Date.parse(validFrom) > nowMs()) {
    return fail(check, `${name} is valid from ${day(validFrom)} on`, 'Set the clock, or wait until then.');
  }
  const host = http.publicUrl === undefined ? undefined : new URL(http.publicUrl).hostname.replace(/^\[|\]$/g, '');
  if (host !== undefined && !isFor(certificate, host)) {
    return fail(check, `${name} is not for ${host}`, 'Use a certificate for the name of http.publicUrl.');
  }
  if (Date.parse(validTo) - nowMs() < SOON_MS) return warn(check, `${name} expires on ${day(validTo)}`, renew);
  return ok(check, `${name}, until ${day(validTo)}`);
}

function isFor(certificate: X509Certificate, host: string): boolean {
  return (isIP(host) === 0 ? certificate.checkHost(host) : certificate.checkIP(host)) !== undefined;
}

function withoutCertificate({ host, publicUrl, trustProxy }: Config['http'], lan: boolean): Finding {
  if (lan) return ok('certificate', 'lan: made at the first start');
  const behindProxy = publicUrl?.startsWith('https:') === true || trustProxy !== false;
  if (isLoopbackHost(host) || behindProxy) return ok('certificate', 'none: plain HTTP');
  const remedy = 'Set http.tlsCertificateFile and http.tlsKeyFile, use --lan, or put a proxy with HTTPS in front.';
  return warn('certificate', 'none: browsers give no camera, and tokens travel in clear', remedy);
}

const day = (time: string): string => new Date(time).toISOString().slice(0, 10);

/** Whether peers elsewhere are told an address that they reach, by what the configured STUN servers see. */
export async function checkAddresses({ http, ice }: Config, machine: Machine): Promise<Finding[]> {
  const stun = ice.servers.filter(({ urls }) => /^stuns?:/i.test(urls));
  const own = [...machine.addresses(), ...ice.additionalHostAddresses];
  if (isLoopbackHost(http.host) && stun.length === 0) return [ok('address', 'loopback: for this machine alone')];
  if (stun.length === 0) {
    const list = own.length === 0 ? 'none' : own.join(', ');
    if (ice.additionalHostAddresses.length > 0 || ice.servers.length > 0) return [ok('address', list)];
    const remedy = 'Behind NAT or in a container name the public address in ice.additionalHostAddresses.';
    return [
      own.some((address) => machine.isPublic(address))
        ? ok('address', list)
        : warn('address', `${list}: reachable in this network alone`, remedy),
    ];
  }
  return Promise.all(
    stun.map(async (server) => {
      try {
        const [seen] = (await machine.probeIceServer(server, SERVER_PATIENCE_MS)).address;
        if (own.includes(seen)) return ok('address', `${server.urls} sees ${seen}, which peers are told`);
        const remedy = `Lead ice.portRange here and add ${seen} to ice.additionalHostAddresses, or use a TURN server.`;
        return warn('address', `${server.urls} sees ${seen}: this machine is behind NAT`, remedy);
      } catch (thrown) {
        return fail('address', reasonOf(server.urls, thrown), 'Correct ice.servers, or let UDP out to it.');
      }
    }),
  );
}

/** Every TURN server of the configuration, with the credentials that peers get: an allocation is made and given back. */
export async function checkTurn({ ice }: Config, machine: Machine): Promise<Finding[]> {
  const turn = ice.servers.filter(({ urls }) => /^turns?:/i.test(urls));
  if (turn.length === 0) return [ok('TURN', 'none configured')];
  return Promise.all(
    turn.map(async (server) => {
      try {
        const [host, port] = (await machine.probeIceServer(server, SERVER_PATIENCE_MS)).address;
        return ok('TURN', `${server.urls} relays by ${host}:${port}`);
      } catch (thrown) {
        const remedy = 'Check address, port and transport, the user or secret, and the clocks of both machines.';
        return fail('TURN', reasonOf(server.urls, thrown), remedy);
      }
    }),
  );
}

/** Without the credential, which an address does not have. */
function reasonOf(urls: string, thrown: unknown): string {
  return `${urls}: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
}
