import { makeSelfSigned } from '../server/access/self-signed.ts';

/** A certificate for localhost and a day, made here so that tests need no openssl program. */
export function selfSignedCertificate(): { cert: string; key: string } {
  return makeSelfSigned({ names: ['localhost'], addresses: ['127.0.0.1'], days: 1 });
}
