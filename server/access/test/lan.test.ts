import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { stateFolder, openLan } from '../lan.ts';

let root: string;
beforeEach(() => (root = mkdtempSync(path.join(tmpdir(), 'lan-'))));
afterEach(() => rmSync(root, { recursive: true }));

it('makes a certificate and keys for the owner alone, and keeps both', () => {
  const folder = path.join(root, 'kept');
  const first = openLan(folder);
  const certificate = readFileSync(first.certificateFile, 'utf8');
  expect(new X509Certificate(certificate).checkHost('localhost')).toBe('localhost');
  expect(new X509Certificate(certificate).checkIP('127.0.0.1')).toBe('127.0.0.1');
  expect(new X509Certificate(certificate).checkIP('::1')).toBe('::1');
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(statSync(first.keyFile).mode & 0o777).toBe(0o600);
  expect(statSync(path.join(folder, 'keys.json')).mode & 0o777).toBe(0o600);
  expect(new Set(Object.values(first.keys)).size).toBe(3);
  expect(openLan(folder)).toEqual(first);
  expect(readFileSync(first.certificateFile, 'utf8')).toBe(certificate);
});

it('renews a certificate that has almost expired, and the keys stay', () => {
  const first = openLan(root);
  const certificate = readFileSync(first.certificateFile, 'utf8');
  const later = openLan(root, Date.now() + 370 * 86_400_000);
  expect(later.keys).toEqual(first.keys);
  expect(readFileSync(later.certificateFile, 'utf8')).not.toBe(certificate);
});

it('refuses keys that it cannot read rather than making others', () => {
  openLan(root);
  for (const damaged of ['{', 'null', '{"publish":"short"}']) {
    writeFileSync(path.join(root, 'keys.json'), damaged);
    expect(() => openLan(root)).toThrow('keys.json');
  }
});

it("keeps them in the user's state folder", () => {
  expect(stateFolder({ XDG_STATE_HOME: '/state' })).toBe('/state/flashvsr-live');
  expect(stateFolder({ XDG_STATE_HOME: 'relative' })).toMatch(/\.local.state.flashvsr-live$/);
});
