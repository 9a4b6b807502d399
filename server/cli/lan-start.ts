import { renderUnicodeCompact } from 'uqr';
import { isLoopbackHost } from '../access/address.ts';
import { lanAddresses, stateFolder, openLan, type LanKeys } from '../access/lan.ts';
import { tokenHash } from '../access/static-tokens.ts';
import type { Config } from '../config/config.ts';

const NO_RIGHTS = { publish: [], watch: [], playback: [], rooms: [], metrics: false, admin: false };
const EVERY_NAME = ['*'];

export interface LanStart {
  readonly config: Config;
  readonly keys: LanKeys;
}

/**
 * The configuration that `--lan` stands for: all addresses, a kept certificate unless one is named, tokens with two more.
 * @returns undefined without `--lan`
 * @throws AppError file.unwritable | config.unreadable
 */
export function lanStart(config: Config): LanStart | undefined {
  const { http, access } = config;
  if (!access.lan) return undefined;
  const { certificateFile, keyFile, keys } = openLan(access.lanFolder ?? stateFolder());
  const certificate =
    http.tlsCertificateFile === undefined ? { tlsCertificateFile: certificateFile, tlsKeyFile: keyFile } : {};
  const host = isLoopbackHost(http.host) ? '0.0.0.0' : http.host;
  const publish = { ...NO_RIGHTS, name: 'lan-publish', hash: tokenHash(keys.publish), publish: EVERY_NAME };
  const watch = { ...NO_RIGHTS, name: 'lan-watch', hash: tokenHash(keys.watch), watch: EVERY_NAME };
  const own = [{ ...publish, watch: EVERY_NAME, playback: EVERY_NAME }, watch];
  return {
    keys,
    config: {
      ...config,
      http: { ...http, ...certificate, host },
      access: {
        ...access,
        mode: 'tokens',
        tokens: [...access.tokens, ...own],
        linkSecret: access.linkSecret ?? keys.links,
      },
    },
  };
}

/**
 * The addresses of this machine at which a server answers that listens on `host`.
 * @param host an address; 0.0.0.0: every one of IPv4, :: every one
 */
export function answeringAt(host: string, addresses: readonly string[] = lanAddresses()): string[] {
  if (host === '0.0.0.0') return addresses.filter((address) => !address.includes(':'));
  return host === '::' ? [...addresses] : [host];
}

/**
 * The links to open on other devices; the key is in the fragment, which no browser sends to a server.
 * @param url of this machine, https://localhost:8080
 * @param terminal draws a QR code as well
 */
export function lanBanner(url: string, keys: LanKeys, terminal: boolean, addresses: readonly string[]): string {
  const { protocol, port } = new URL(url);
  const [origin = url, ...others] = addresses.map((address) => {
    const host = address.includes(':') ? `[${address}]` : address;
    return `${protocol}//${host}${port === '' ? '' : `:${port}`}`;
  });
  const page = `${origin}/#key=`;
  const code = terminal ? `\n${renderUnicodeCompact(`${page}${keys.publish}`).replaceAll(/^/gm, '  ')}\n` : '';
  return [
    `  publish ${page}${keys.publish}`,
    `  watch   ${page}${keys.watch}`,
    ...others.slice(0, 4).map((other) => `          also at ${other}`),
    '  Keep the first link to yourself. Browsers warn once of the certificate: it is your own.',
    code,
    '',
  ].join('\n');
}
