import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Vp9Depacketizer, parseVp9Descriptor } from '../vp9.ts';

describe('VP9', () => {
  it('reads descriptors with picture id, layers, references and scalability structure (RFC 9628 section 4.2)', () => {
    // I, L, B, E, V; 15 bit picture id; non-flexible layers with TL0PICIDX; one layer with a size, one picture group.
    const payload = Buffer.from([0xae, 0x81, 0x02, 0x00, 0x07, 0x18, 0x02, 0x80, 0x01, 0x68, 0x01, 0x04, 0x01, 0xaa]);
    expect(parseVp9Descriptor(payload)).toMatchObject({ begins: true, ends: true, interPredicted: false, bytes: 13 });
    const flexible = Buffer.from([0xd8, 0x05, 0x03, 0x02, 0xaa]);
    expect(parseVp9Descriptor(flexible)).toMatchObject({ begins: true, interPredicted: true, bytes: 4 });
  });

  it('joins a frame and knows a keyframe by the absence of prediction', () => {
    const depacketizer = new Vp9Depacketizer();
    depacketizer.add({ payload: Buffer.from([0x88, 0x01, 1, 2]) });
    depacketizer.add({ payload: Buffer.from([0x84, 0x01, 3]) });
    expect(depacketizer.finish()).toEqual({ data: Buffer.from([1, 2, 3]), keyframe: true });
    depacketizer.add({ payload: Buffer.from([0xcc, 0x02, 9]) });
    expect(depacketizer.finish()).toEqual({ data: Buffer.of(9), keyframe: false });
    depacketizer.add({ payload: Buffer.from([0x84, 0x01, 3]) });
    expect(depacketizer.finish(), 'no beginning').toBe('damaged');
  });

  it('takes the base layer of spatial layers, in both modes (RFC 9628 section 4.2: L, SID)', () => {
    const depacketizer = new Vp9Depacketizer();
    // Non-flexible: L, B, E; SID 0, TL0PICIDX, then SID 1 with D and without P: a key superframe.
    depacketizer.add({ payload: Buffer.from([0x2c, 0x00, 0x07, 1, 2]) });
    depacketizer.add({ payload: Buffer.from([0x2c, 0x03, 0x07, 3]) });
    expect(depacketizer.finish()).toEqual({ data: Buffer.from([1, 2]), keyframe: true });
    // Flexible: I, P, L, F, B; SID 0 and one reference; the second packet of the base layer, then SID 1.
    depacketizer.add({ payload: Buffer.from([0xf8, 0x05, 0x00, 0x02, 4]) });
    depacketizer.add({ payload: Buffer.from([0xf4, 0x05, 0x00, 0x02, 5]) });
    depacketizer.add({ payload: Buffer.from([0xfc, 0x05, 0x03, 0x02, 6]) });
    expect(depacketizer.finish()).toEqual({ data: Buffer.from([4, 5]), keyframe: false });
    depacketizer.add({ payload: Buffer.from([0xfc, 0x05, 0x03, 0x02, 6]) });
    expect(depacketizer.finish(), 'an upper layer alone').toBe('damaged');
  });

  it('survives noise', () => {
    for (let round = 0; round < 20_000; round += 1) {
      parseVp9Descriptor(randomBytes(round % 24));
    }
  });

  it('skips a scalability structure: sizes that it claims reach nothing', () => {
    // V, B and E; eight layers of 65535x65535, a group of two pictures with three references each.
    const sizes = Buffer.alloc(4 * 8, 0xff);
    const group = Buffer.of(0x02, 0x0c, 1, 2, 3, 0x0c, 1, 2, 3);
    const payload = Buffer.concat([Buffer.of(0x8e, 0x01, 0xf8), sizes, group, Buffer.of(0x82, 0x49)]);
    expect(parseVp9Descriptor(payload)?.bytes).toBe(payload.length - 2);
    const depacketizer = new Vp9Depacketizer();
    depacketizer.add({ payload });
    expect(depacketizer.finish()).toEqual({ data: Buffer.of(0x82, 0x49), keyframe: true });
    for (let cut = 3; cut < payload.length - 1; cut += 1) {
      expect(parseVp9Descriptor(payload.subarray(0, cut)), `cut at ${cut}`).toBeUndefined();
    }
  });

  it('reads a scalability structure of 255 pictures no further than the packet', () => {
    // V and I; one layer without sizes, a picture group of 255 entries that the packet does not hold.
    const lie = Buffer.concat([Buffer.of(0x8a, 0x01, 0x08, 0xff), Buffer.alloc(40)]);
    expect(parseVp9Descriptor(lie)).toBeUndefined();
  });
});
