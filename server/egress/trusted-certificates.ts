import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { rootCertificates } from 'node:tls';

let written: Promise<string> | undefined;

/** A PEM file of the authorities that Node trusts: libav takes a file, and this machine may have none. Gone with the process. */
export function trustedCertificates(): Promise<string> {
  written ??= write();
  return written;
}

async function write(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flashvsr-trust-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  const file = path.join(folder, 'authorities.pem');
  try {
    await writeFile(file, rootCertificates.join('\n'));
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  return file;
}
