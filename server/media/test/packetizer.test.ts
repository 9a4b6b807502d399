import { randomBytes } from 'node:crypto';
import { expect, it } from 'vitest';
import { MAX_PAYLOAD_BYTES, packetize } from '../packetizer.ts';
import { traceAt } from '../steps.ts';
import type { EncodedFrame } from '../types.ts';
import { Vp8Depacketizer, parseVp8Descriptor } from '../vp8.ts';

const frame = (codec: 'H264' | 'VP8', data: Uint8Array): EncodedFrame => ({
  codec,
  rendition: 'full',
  data,
  mediaTime: 3000,
  keyframe: true,
  width: 1280,
  height: 720,
  trace: traceAt(1),
});

it('cuts a frame once, however many viewers ask', () => {
  const vp8 = frame('VP8', randomBytes(5000));
  expect(packetize(vp8)).toBe(packetize(vp8));
  expect(packetize(frame('VP8', vp8.data))).not.toBe(packetize(vp8));
});

it('keeps every payload within the bound and loses no byte', () => {
  const data = randomBytes(20_000);
  data[0] = 0;
  const { payloads } = packetize(frame('VP8', data));
  expect(Math.max(...payloads.map(({ length }) => length))).toBeLessThanOrEqual(MAX_PAYLOAD_BYTES);
  const depacketizer = new Vp8Depacketizer();
  for (const payload of payloads) depacketizer.add({ payload: Buffer.from(payload) });
  expect(depacketizer.finish()).toMatchObject({ data, keyframe: true });
  const h264 = Buffer.concat([Buffer.from([0, 0, 0, 1, 0x65]), randomBytes(5000)]);
  expect(packetize(frame('H264', h264)).payloads.every(({ length }) => length <= MAX_PAYLOAD_BYTES)).toBe(true);
});

it('counts no VP8 pictures: a viewer that misses another rendition’s frames must not see a gap', () => {
  const { payloads } = packetize(frame('VP8', randomBytes(3000)));
  expect(payloads.map((payload) => parseVp8Descriptor(payload))).toEqual(
    payloads.map((_, index) => ({
      start: index === 0,
      partition: 0,
      pictureId: undefined,
      nonReference: false,
      bytes: 1,
    })),
  );
});
