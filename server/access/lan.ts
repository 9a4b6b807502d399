import { X509Certificate } from 'node:crypto';
import { chmodSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { homedir, hostname, networkInterfaces } from 'node:os';
import path from 'node:path';
import { AppError } from '../errors.ts';
import { makeSelfSigned } from './self-signed.ts';
import { makeToken } from './static-tokens.ts';

/** What `--lan` keeps from start to start, so that links and a browser's exception for the certificate go on working. */
export interface LanFiles {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly keys: LanKeys;
}

export interface LanKeys {
  /** To publish, and to watch. */
  readonly publish: string;
  readonly watch: string;
  /** Signs links for viewers. */
  readonly links: string;
}

/** What browsers take at most of a certificate, and when a new one is made. */
const VALID_DAYS = 397;
const RENEW_BEFORE_MS = 30 * 86_400_000;
/** For the owner alone. */
const PRIVATE_FILE = 0o600;
const PRIVATE_FOLDER = 0o700;

/** $XDG_STATE_HOME/flashvsr-live, or ~/.local/state/flashvsr-live. */
export function stateFolder(environment: NodeJS.ProcessEnv = process.env): string {
  const state = environment['XDG_STATE_HOME'];
  const root = state !== undefined && path.isAbsolute(state) ? state : path.join(homedir(), '.local', 'state');
  return path.join(root, 'flashvsr-live');
}

/**
 * Certificate and keys of a folder; what is not there, or has (almost) expired, is made.
 * @throws AppError file.unwritable | config.unreadable
 */
export function openLan(folder: string, nowMs = Date.now()): LanFiles {
  const certificateFile = path.join(folder, 'certificate.pem');
  const keyFile = path.join(folder, 'certificate-key.pem');
  try {
    mkdirSync(folder, { recursive: true, mode: PRIVATE_FOLDER });
    if (!isValid(certificateFile, keyFile, nowMs)) {
      const addresses = ['127.0.0.1', '::1', ...lanAddresses()];
      const { cert, key } = makeSelfSigned({ names: [certificateName(), 'localhost'], addresses, days: VALID_DAYS });
      write(keyFile, key);
      write(certificateFile, cert);
    }
    return { certificateFile, keyFile, keys: keysOf(path.join(folder, 'keys.json')) };
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    throw new AppError('file.unwritable', `${folder} cannot keep certificate and keys: ${(cause as Error).message}`, {
      cause,
      remedy: 'Make the folder writable, or name another one by access.lanFolder.',
    });
  }
}

/** Addresses of this machine that others of its network reach: IPv4 first, link-local ones are left out. */
export function lanAddresses(): string[] {
  const all = Object.values(networkInterfaces()).flatMap((list = []) => list);
  const others = all.filter(({ internal, address }) => !internal && !/^(169\.254\.|fe80:)/i.test(address));
  return others.sort((a, b) => a.family.localeCompare(b.family)).map(({ address }) => address);
}

function certificateName(): string {
  const name = hostname();
  return /^[A-Za-z0-9.-]{1,63}$/.test(name) ? name : 'flashvsr-live';
}

function isValid(certificateFile: string, keyFile: string, nowMs: number): boolean {
  const [certificate, key] = [read(certificateFile), read(keyFile)];
  if (certificate === undefined || key === undefined) return false;
  try {
    return Date.parse(new X509Certificate(certificate).validTo) - nowMs > RENEW_BEFORE_MS;
  } catch {
    return false;
  }
}

function keysOf(file: string): LanKeys {
  const text = read(file);
  if (text === undefined) {
    const keys: LanKeys = { publish: makeToken(), watch: makeToken(), links: makeToken() };
    write(file, `${JSON.stringify(keys, undefined, 2)}\n`);
    return keys;
  }
  const { publish, watch, links } = parsed(file, text);
  const found = [publish, watch, links].every((key) => typeof key === 'string' && /^[\w-]{32}$/.test(key));
  if (!found) throw damaged(file);
  return { publish, watch, links } as LanKeys;
}

function parsed(file: string, text: string): Readonly<Record<string, unknown>> {
  try {
    return (JSON.parse(text) ?? {}) as Readonly<Record<string, unknown>>;
  } catch {
    throw damaged(file);
  }
}

function damaged(file: string): AppError {
  return new AppError('config.unreadable', `${file} does not hold the keys of --lan.`, {
    remedy: 'Remove the file: new keys are made, and earlier links end.',
  });
}

function read(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw cause;
  }
}

/** In one step: a start that is stopped leaves no half of a file. */
function write(file: string, text: string): void {
  const growing = `${file}.${process.pid}.new`;
  writeFileSync(growing, text, { mode: PRIVATE_FILE });
  chmodSync(growing, PRIVATE_FILE);
  renameSync(growing, file);
}
