import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Vp8Depacketizer, packetizeVp8, parseVp8Descriptor } from '../vp8.ts';

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
      expect(depacketizer.finish()).toEqual({ data: frame, keyframe: true });
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
    expect(depacketizer.finish()).toBe('damaged');
    for (const truncated of [[0x80], [0x80, 0x80], [0x80, 0x80, 0x80], [0x10]]) {
      depacketizer.add({ payload: Buffer.from(truncated) });
      expect(depacketizer.finish()).toBe('damaged');
    }
  });

  it('skips empty payloads: bandwidth probes', () => {
    const depacketizer = new Vp8Depacketizer();
    const frame = randomBytes(100);
    frame[0] = (frame[0] as number) | 1;
    depacketizer.add({ payload: Buffer.alloc(0) });
    for (const payload of packetizeVp8(frame, 1, 1200)) depacketizer.add({ payload });
    expect(depacketizer.finish()).toEqual({ data: frame, keyframe: false });
  });
});
