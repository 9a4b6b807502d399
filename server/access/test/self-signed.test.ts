import { createSecureContext } from 'node:tls';
import { expect, it } from 'vitest';
import { makeSelfSigned } from '../self-signed.ts';

it('makes a certificate that OpenSSL reads, however long its text is', () => {
  // One length in 48 ends with a full line.
  for (let length = 1; length <= 48; length += 1) {
    const { cert, key } = makeSelfSigned({
      names: [`n${'a'.repeat(length)}`],
      addresses: ['127.0.0.1', '::1'],
      days: 1,
    });
    expect(() => createSecureContext({ cert, key })).not.toThrow();
  }
});
