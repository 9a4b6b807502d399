import { expect, it } from 'vitest';
import { hasForgedRecord } from '../dtls-records.ts';

/** Type, epoch, first byte of the content. */
function record(type: number, epoch: number, content: readonly number[]): Buffer {
  const header = Buffer.from([type, 254, 253, 0, epoch, 0, 0, 0, 0, 0, 7, 0, content.length]);
  return Buffer.concat([header, Buffer.from(content)]);
}
/** A cipher whose key authenticates content that begins with 9. */
const cipher = {
  decryptPacket: (given: unknown): Buffer => {
    const { fragment } = given as { fragment: Buffer };
    if (fragment[0] !== 9) throw new Error('bad tag');
    return fragment;
  },
};

it.each([
  ['application data', record(23, 1, [1, 2]), false],
  ['an alert that decrypts', record(21, 1, [9, 9]), false],
  ['an alert that does not', record(21, 1, [1, 0]), true],
  ['an alert in clear text', record(21, 0, [9, 0]), true],
  ['an unknown type', record(40, 1, [1]), true],
  ['a ClientHello of a new session', record(22, 0, [1, 0]), true],
  ['a retransmitted handshake message', record(22, 0, [16, 0]), false],
  ['a forged record behind a good one', Buffer.concat([record(23, 1, [1]), record(21, 1, [1])]), true],
])('%s: forged %s', (_what, data, forged) => {
  expect(hasForgedRecord(data, cipher)).toBe(forged);
});
