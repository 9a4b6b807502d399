import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { trustedCertificates } from '../trusted-certificates.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'trust-'))));
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

it('the file is written once, and again after a failure or when it was cleaned away', async () => {
  vi.stubEnv('TMPDIR', join(folder, 'missing'));
  await expect(trustedCertificates()).rejects.toThrow('ENOENT');
  vi.stubEnv('TMPDIR', folder);
  const [first, second] = await Promise.all([trustedCertificates(), trustedCertificates()]);
  expect(second).toBe(first);
  expect(readFileSync(first, 'utf8')).toContain('BEGIN CERTIFICATE');
  rmSync(dirname(first), { recursive: true });
  const third = await trustedCertificates();
  expect(readFileSync(third, 'utf8')).toContain('BEGIN CERTIFICATE');
});
