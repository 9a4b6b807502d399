import { X509Certificate } from 'node:crypto';
import { expect, it } from 'vitest';
import { certificate } from '../dtls-certificate.ts';

const DAY_MS = 86_400_000;

it('sessions share one certificate for a month, then get another', () => {
  const start = Date.parse('2026-11-30T12:00:00Z');
  const first = certificate(start);
  expect(certificate(start + 30 * DAY_MS)).toBe(first);
  const second = certificate(start + 31 * DAY_MS);
  expect(second.sha256Fingerprint).not.toBe(first.sha256Fingerprint);
  expect(certificate(start + 32 * DAY_MS)).toBe(second);
  const { validTo } = new X509Certificate(first.der);
  expect(Date.parse(validTo)).toBe(start + 365 * DAY_MS);
});
