import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { SignJWT } from 'jose';
import { startApp, type App } from '../../server/app.ts';
import { makeToken, tokenHash } from '../../server/access/static-tokens.ts';
import { loadConfig } from '../../server/config/config.ts';
import { createLog } from '../../server/log.ts';

export const CREDENTIALS = ['none', 'wrong', 'expired', 'foreign', 'right'] as const;
export type CredentialKind = (typeof CREDENTIALS)[number];
export const MODES = ['open', 'tokens', 'jwt', 'webhook'] as const;
export type Mode = (typeof MODES)[number];

/** The broadcast of the matrix, and one that the foreign credential has every right to. */
export const NAME = 'stage';
const OTHER = 'other';
export const RECORDING = `${NAME}_archive_20261130T180557Z.mp4`;

const RIGHTS = { publish: [NAME], watch: [NAME], playback: [NAME], metrics: true, admin: true };
const FOREIGN = { publish: [OTHER], watch: [OTHER], playback: [OTHER] };

/** A whole server in one mode on all addresses, a credential of each kind, and everything that it logged. */
export interface ModeServer {
  readonly app: App;
  readonly url: string;
  readonly credentials: Readonly<Record<CredentialKind, string | undefined>>;
  /** What must not appear anywhere. */
  readonly secrets: readonly string[];
  log(): string;
  close(): Promise<void>;
}

export async function startMode(mode: Mode): Promise<ModeServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'access-'));
  mkdirSync(path.join(folder, NAME));
  writeFileSync(path.join(folder, NAME, 'index.m3u8'), '#EXTM3U\n#EXTINF:4,\n1764526000.ts\n');
  writeFileSync(path.join(folder, RECORDING), 'recording');
  const outputs = [
    { name: 'archive', broadcast: 'nobody', type: 'recording', folder },
    { name: 'web', broadcast: 'nobody', type: 'hls', folder },
  ];
  const { argv, credentials, secrets, hook } = await ofMode(mode);
  const lines: string[] = [];
  const config = loadConfig({
    argv: [
      ...['--port', '0', '--host', '0.0.0.0', '--model', 'resize', '--outputs', JSON.stringify(outputs)],
      ...['--access.mode', mode, '--access.failureDelayMs', '0', '--limits.maxWhipRequestsPerSecond', '1000', ...argv],
    ],
  });
  const log = createLog({ level: 'trace', format: 'json' }, { write: (line) => void lines.push(line) });
  const app = await startApp(config, log);
  return {
    ...{ app, credentials, secrets },
    url: app.url.replace('localhost', '127.0.0.1'),
    log: () => lines.join(''),
    async close() {
      await app.close();
      hook?.close();
      rmSync(folder, { recursive: true });
    },
  };
}

interface OfMode {
  readonly argv: readonly string[];
  readonly credentials: ModeServer['credentials'];
  readonly secrets: readonly string[];
  readonly hook?: Server;
}

function ofMode(mode: Mode): Promise<OfMode> {
  if (mode === 'jwt') return jwts();
  if (mode === 'webhook') return hooked();
  return tokens(mode);
}

async function tokens(mode: Mode): Promise<OfMode> {
  const made = { none: undefined, wrong: makeToken(), expired: makeToken(), foreign: makeToken(), right: makeToken() };
  const entries = [
    { name: 'old', hash: tokenHash(made.expired), ...RIGHTS, expires: '2020-01-01T00:00:00Z' },
    { name: 'neighbour', hash: tokenHash(made.foreign), ...FOREIGN },
    { name: 'owner', hash: tokenHash(made.right), ...RIGHTS },
  ];
  const argv = mode === 'open' ? [] : ['--access.tokens', JSON.stringify(entries)];
  const hashes = entries.map(({ hash }) => hash.replace('sha256:', ''));
  return { argv, credentials: made, secrets: [...secretsOf(made), ...hashes] };
}

async function jwts(): Promise<OfMode> {
  const secret = `secret-of-this-test-${makeToken()}`;
  const sign = (claim: object, expires: string | number, by = secret): Promise<string> =>
    new SignJWT({ flashvsr: claim })
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject('somebody')
      .setExpirationTime(expires)
      .sign(new TextEncoder().encode(by));
  const made = {
    none: undefined,
    wrong: await sign(RIGHTS, '1h', `another-${secret}`),
    expired: await sign(RIGHTS, Math.floor(Date.now() / 1000) - 3600),
    foreign: await sign(FOREIGN, '1h'),
    right: await sign(RIGHTS, '1h'),
  };
  const argv = ['--access.jwtSecret', secret];
  return { argv, credentials: made, secrets: [...secretsOf(made), secret] };
}

/** The operator's program: it knows two tokens, and which names they are for. */
async function hooked(): Promise<OfMode> {
  const made = { none: undefined, wrong: makeToken(), expired: makeToken(), foreign: makeToken(), right: makeToken() };
  const hook = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk: Buffer) => (body += chunk.toString()));
    request.on('end', () => {
      const { token, path: name, action } = JSON.parse(body) as { token: string; path: string; action: string };
      const operates = action === 'api' || action === 'metrics';
      const names = { [made.right]: NAME, [made.foreign]: OTHER }[token];
      const yes = operates ? token === made.right : names === name;
      response.statusCode = names === undefined ? 401 : yes ? 200 : 403;
      response.end();
    });
  });
  await new Promise<void>((resolve) => hook.listen(0, '127.0.0.1', resolve));
  const key = makeToken();
  const url = `http://127.0.0.1:${(hook.address() as AddressInfo).port}/auth?key=${key}`;
  const argv = ['--access.webhookUrl', url, '--targets.allow', '["127.0.0.1"]'];
  return { argv, credentials: made, secrets: [...secretsOf(made), key], hook };
}

function secretsOf(credentials: Readonly<Record<CredentialKind, string | undefined>>): string[] {
  return Object.values(credentials).filter((each) => each !== undefined);
}
