import { access, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { rootCertificates } from 'node:tls';

let written: Promise<string> | undefined;

/**
 * A PEM file of the authorities that Node trusts: libav takes a file, and this machine may have none. Gone with the process. It is
 * written again when that failed, or when the system has cleaned its temporary folder.
 */
export function trustedCertificates(): Promise<string> {
  written = usable(written);
  return written;
}

async function usable(before: Promise<string> | undefined): Promise<string> {
  try {
    const file = await before;
    if (file !== undefined) {
      await access(file);
      return file;
    }
  } catch {
    // Another one.
  }
  return write();
}

async function write(): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'flashvsr-trust-'));
  const file = path.join(folder, 'authorities.pem');
  try {
    await writeFile(file, rootCertificates.join('\n'));
  } catch (error) {
    await rm(folder, { recursive: true, force: true });
    throw error;
  }
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return file;
}
