import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Vp8Depacketizer, packetizeVp8, parseVp8Descriptor } from '../vp8.ts';
import { Vp9Depacketizer, parseVp9Descriptor } from '../vp9.ts';

describe('VP8', () => {
  it('cuts and joins frames of any size, with the picture id on every packet', () => {
    for (const bytes of [3, 1195, 1196, 1197, 20_000]) {
      const frame = randomBytes(bytes);
      frame[0] = (frame[0] as number) & 0xfe;
      const payloads = packetizeVp8(frame, 0x7abc, 1200);
      expect(Math.max(...payloads.map((payload) => payload.length))).toBeLessThanOrEqual(1200);
      expect(payloads.map((payload) => parseVp8Descriptor(payload)?.pictureId)).toEqual(payloads.map(() => 0x7abc));
      expect(payloads.map((payload) => parseVp8Descriptor(payload)?.start)).toEqual(
        payloads.map((_, index) => index === 0),
      );
      const depacketizer = new Vp8Depacketizer();
      for (const payload of payloads) depacketizer.add({ payload });
      const joined = depacketizer.finish();
      expect(joined?.keyframe).toBe(true);
      expect(joined?.data.equals(frame)).toBe(true);
    }
  });

  it('reads descriptors with 7 bit picture ids and layer indices (RFC 7741 section 4.2)', () => {
    const descriptor = parseVp8Descriptor(Buffer.from([0xb0, 0xf0, 0x11, 5, 0x20, 0xaa]));
    expect(descriptor).toEqual({ start: true, partition: 0, pictureId: 0x11, nonReference: true, bytes: 5 });
  });

  it('gives no frame without its beginning, and none for a truncated descriptor', () => {
    const depacketizer = new Vp8Depacketizer();
    const payloads = packetizeVp8(randomBytes(5000), 1, 1200);
    for (const payload of payloads.slice(1)) depacketizer.add({ payload });
    expect(depacketizer.finish()).toBeUndefined();
    for (const truncated of [[0x80], [0x80, 0x80], [0x80, 0x80, 0x80], [0x10]]) {
      depacketizer.add({ payload: Buffer.from(truncated) });
      expect(depacketizer.finish()).toBeUndefined();
    }
  });

  it('skips empty payloads: bandwidth probes', () => {
    const depacketizer = new Vp8Depacketizer();
    const frame = randomBytes(100);
    depacketizer.add({ payload: Buffer.alloc(0) });
    for (const payload of packetizeVp8(frame, 1, 1200)) depacketizer.add({ payload });
    expect(depacketizer.finish()?.data.equals(frame)).toBe(true);
  });
});

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
    expect(depacketizer.finish()?.keyframe).toBe(false);
    depacketizer.add({ payload: Buffer.from([0x84, 0x01, 3]) });
    expect(depacketizer.finish(), 'no beginning').toBeUndefined();
  });

  it('survives noise', () => {
    for (let round = 0; round < 20_000; round += 1) {
      parseVp9Descriptor(randomBytes(round % 24));
      parseVp8Descriptor(randomBytes(round % 24));
    }
  });
});
