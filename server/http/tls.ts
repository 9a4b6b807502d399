import { readFileSync } from 'node:fs';
import { createSecureContext } from 'node:tls';
import { AppError } from '../errors.ts';
import type { Config } from '../config/config.ts';

export interface TlsFiles {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/**
 * Reads certificate and key and tries them together, so that a wrong file is named at start and not at the first handshake.
 * @returns undefined when HTTPS is not configured. @throws AppError config.unreadable | config.invalid
 */
export function readTlsFiles(http: Config['http']): TlsFiles | undefined {
  const { tlsCertificateFile, tlsKeyFile } = http;
  if (tlsCertificateFile === undefined || tlsKeyFile === undefined) return undefined;
  const cert = read('http.tlsCertificateFile', tlsCertificateFile);
  const key = read('http.tlsKeyFile', tlsKeyFile);
  tryContext({ cert }, 'http.tlsCertificateFile', `${tlsCertificateFile} is not a PEM certificate`);
  tryContext({ cert, key }, 'http.tlsKeyFile', `${tlsKeyFile} is not the PEM key of ${tlsCertificateFile}`);
  return { cert, key };
}

function read(key: string, path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new AppError('config.unreadable', `${key}: ${path} cannot be read: ${(cause as Error).message}`, {
      cause,
      context: { key, path },
      remedy: 'Check that the file exists and may be read by this user.',
    });
  }
}

function tryContext(files: Partial<TlsFiles>, key: string, wrong: string): void {
  try {
    createSecureContext(files);
  } catch (cause) {
    throw new AppError('config.invalid', `${key}: ${wrong} (${(cause as Error).message}).`, {
      cause,
      context: { key },
    });
  }
}
