import { createOwnCertificate, type OwnCertificate } from './dtls/own-certificate.ts';

const RENEW_AFTER_MS = 30 * 86_400_000;
const VALID_DAYS = 365;

let current: { readonly certificate: OwnCertificate; readonly madeAtMs: number } | undefined;

/**
 * One self-signed certificate for the sessions of a process: making one costs a key pair and a signature, and peers check its
 * fingerprint alone. After a month new sessions get another, so that no session outlives the one it shows.
 */
export function certificate(nowMs = Date.now()): OwnCertificate {
  if (current === undefined || nowMs - current.madeAtMs > RENEW_AFTER_MS) {
    current = { certificate: createOwnCertificate(VALID_DAYS, new Date(nowMs)), madeAtMs: nowMs };
  }
  return current.certificate;
}
