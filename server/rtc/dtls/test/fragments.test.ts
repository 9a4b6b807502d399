import { describe, expect, it } from 'vitest';
import { uint16, uint24, uint8 } from '../bytes.ts';
import { Reassembly, splitFragments } from '../fragments.ts';
import {
  MAX_BUFFERED_BYTES,
  MAX_CERTIFICATE_MESSAGE_BYTES,
  MAX_FRAGMENTS_PER_RECORD,
  MAX_FUTURE_MESSAGES,
  MAX_OTHER_MESSAGE_BYTES,
} from '../limits.ts';
import { HandshakeType } from '../protocol.ts';
import { seeded } from '../../../../testing/dtls-pair.ts';

const CERTIFICATE = HandshakeType.certificate;

interface Claim {
  readonly type?: number;
  readonly length: number;
  readonly sequence?: number;
  readonly offset?: number;
  /** What the header says; else what is there. */
  readonly bytes?: number;
}
function fragment({ type = CERTIFICATE, length, sequence = 0, offset = 0, bytes }: Claim, content: Buffer): Buffer {
  const header = [uint8(type), uint24(length), uint16(sequence), uint24(offset), uint24(bytes ?? content.length)];
  return Buffer.concat([...header, content]);
}
const parse = (content: Buffer) => {
  const { fragments, refused } = splitFragments(content);
  return [fragments.length, refused];
};
const add = (reassembly: Reassembly, claim: Claim, content: Buffer) =>
  splitFragments(fragment(claim, content)).fragments.map((one) => reassembly.add(one));

describe('the fragments of a record', () => {
  it.each<readonly [string, Buffer, readonly number[]]>([
    ['a whole message', fragment({ length: 3 }, Buffer.alloc(3)), [1, 0]],
    [
      'two messages',
      Buffer.concat([fragment({ length: 3 }, Buffer.alloc(3)), fragment({ length: 0 }, Buffer.alloc(0))]),
      [2, 0],
    ],
    [
      'a message without content',
      fragment({ type: HandshakeType.serverHelloDone, length: 0 }, Buffer.alloc(0)),
      [1, 0],
    ],
    ['a header cut short', fragment({ length: 0 }, Buffer.alloc(0)).subarray(0, 11), [0, 1]],
    ['fewer bytes than claimed', fragment({ length: 9, bytes: 9 }, Buffer.alloc(3)), [0, 1]],
    ["bytes behind the message's end", fragment({ length: 4, offset: 2 }, Buffer.alloc(3)), [0, 1]],
    ["an offset behind the message's end", fragment({ length: 4, offset: 9 }, Buffer.alloc(1)), [0, 1]],
    ['nothing of something', fragment({ length: 4 }, Buffer.alloc(0)), [0, 1]],
    ['an unknown type', fragment({ type: 99, length: 1 }, Buffer.alloc(1)), [0, 1]],
    ['16 MiB', fragment({ length: 0xffffff }, Buffer.alloc(1)), [0, 1]],
    ['a Certificate of 8 KiB', fragment({ length: MAX_CERTIFICATE_MESSAGE_BYTES }, Buffer.alloc(1)), [1, 0]],
    [
      'a Certificate of one byte more',
      fragment({ length: MAX_CERTIFICATE_MESSAGE_BYTES + 1 }, Buffer.alloc(1)),
      [0, 1],
    ],
    ['another message of 4 KiB', fragment({ type: 12, length: MAX_OTHER_MESSAGE_BYTES }, Buffer.alloc(1)), [1, 0]],
    [
      'another message of one byte more',
      fragment({ type: 12, length: MAX_OTHER_MESSAGE_BYTES + 1 }, Buffer.alloc(1)),
      [0, 1],
    ],
    [
      'more than a record may hold',
      Buffer.concat(Array.from({ length: 1000 }, () => fragment({ type: 14, length: 0 }, Buffer.alloc(0)))),
      [MAX_FRAGMENTS_PER_RECORD, 1],
    ],
  ])('%s', (_what, content, expected) => {
    expect(parse(content)).toEqual(expected);
  });
});

describe('reassembly', () => {
  it('builds messages from fragments in any order, repeated and overlapping (60 seeds)', () => {
    for (let seed = 1; seed <= 60; seed++) {
      const random = seeded(seed);
      const bodies = [0, 1, 2].map(() => Buffer.from(Array.from({ length: 1 + random() * 900 }, () => random() * 256)));
      const pieces = bodies.flatMap((body, sequence) => {
        const whole: { readonly claim: Claim; readonly content: Buffer }[] = [];
        for (let at = 0; at < body.length;) {
          const from = Math.max(0, at - Math.floor(random() * 40));
          const to = Math.min(body.length, at + 1 + Math.floor(random() * 150));
          const piece = { claim: { length: body.length, sequence, offset: from }, content: body.subarray(from, to) };
          whole.push(piece);
          if (random() < 0.2) whole.push(piece);
          at = to;
        }
        return whole;
      });
      pieces.sort(() => random() - 0.5);
      const reassembly = new Reassembly(0);
      const out: Buffer[] = [];
      for (const { claim, content } of pieces) {
        add(reassembly, claim, content);
        for (let message = reassembly.peek(); message !== undefined; message = reassembly.peek()) {
          out.push(message.body);
          reassembly.take();
        }
      }
      expect(out).toEqual(bodies);
      expect(reassembly.bufferedBytes).toBe(0);
    }
  });

  it('forgets a message whose fragments contradict each other; a whole one then counts', () => {
    const reassembly = new Reassembly(0);
    expect(add(reassembly, { length: 8 }, Buffer.from([1, 2, 3, 4]))).toEqual(['kept']);
    expect(add(reassembly, { length: 8, offset: 2 }, Buffer.from([9, 9, 9]))).toEqual(['refused']);
    expect(reassembly.bufferedBytes).toBe(0);
    for (const claim of [{ length: 9 }, { length: 8, type: 12 }]) {
      add(reassembly, { length: 8 }, Buffer.from([1, 2]));
      expect(add(reassembly, claim, Buffer.from([1, 2]))).toEqual(['refused']);
      expect(reassembly.bufferedBytes).toBe(0);
    }
    expect(add(reassembly, { length: 8 }, Buffer.alloc(8, 7))).toEqual(['kept']);
    expect(reassembly.peek()?.body).toEqual(Buffer.alloc(8, 7));
  });

  it('stays within its limits under a fragment bomb', () => {
    const reassembly = new Reassembly(0);
    let most = 0;
    for (let n = 0; n < 20_000; n++) {
      const sequence = n % 300;
      add(reassembly, { length: MAX_CERTIFICATE_MESSAGE_BYTES, sequence, offset: (n * 2) % 8000 }, Buffer.from([1]));
      most = Math.max(most, reassembly.bufferedBytes);
    }
    expect(most).toBeLessThanOrEqual(MAX_BUFFERED_BYTES);
    expect(add(reassembly, { length: 1, sequence: MAX_FUTURE_MESSAGES }, Buffer.from([1]))).toEqual(['refused']);
  });

  it('makes room for the message that is due by dropping later ones', () => {
    const reassembly = new Reassembly(0);
    for (const sequence of [1, 2, 3]) {
      add(reassembly, { length: MAX_CERTIFICATE_MESSAGE_BYTES, sequence }, Buffer.from([1]));
    }
    expect(reassembly.bufferedBytes).toBe(MAX_BUFFERED_BYTES);
    expect(add(reassembly, { length: 500 }, Buffer.alloc(500))).toEqual(['kept']);
    expect(reassembly.peek()?.body).toHaveLength(500);
    expect(reassembly.bufferedBytes).toBeLessThanOrEqual(MAX_BUFFERED_BYTES);
  });

  it('counts a repeated message that was taken already as old', () => {
    const reassembly = new Reassembly(0);
    add(reassembly, { length: 1 }, Buffer.from([1]));
    reassembly.take();
    expect(add(reassembly, { length: 1 }, Buffer.from([1]))).toEqual(['old']);
  });
});
