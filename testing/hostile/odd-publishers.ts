import { encodeClip } from '../clip.ts';
import { TINY_IDR } from './h264.ts';
import { stream, type PublisherAttack } from './publisher-attacks.ts';

/** Publishers whose pictures make no sense: sizes, times and contents that change as no camera's do. */

/** Reproducible noise (mulberry32). */
function noise(seed: number): (bytes: number) => Buffer {
  let state = seed;
  return (bytes) =>
    Buffer.from(
      Array.from({ length: bytes }, () => {
        state = (state + 0x6d2b79f5) | 0;
        let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
        mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
        return (mixed ^ (mixed >>> 14)) & 0xff;
      }),
    );
}

/** A VP8 keyframe that says another size (RFC 6386 section 9.1). */
function sized(keyframe: Buffer, width: number, height: number): Buffer {
  const copy = Buffer.from(keyframe);
  copy.writeUInt16LE(width, 6);
  copy.writeUInt16LE(height, 8);
  return copy;
}

/** A one-byte extension block of zero padding: the dearest to search. */
function extensionBomb(bytes: number): Buffer {
  const block = Buffer.alloc(4 + bytes);
  block.writeUInt16BE(0xbede, 0);
  block.writeUInt16BE(bytes / 4, 2);
  return block;
}

const HOUR_TICKS = 90_000 * 3600;

/** @param bytes of the block; a path of Ethernet carries up to 1400 in one fragment */
function extensionBombs(bytes: number): PublisherAttack {
  const extensionBlock = extensionBomb(bytes);
  return {
    name: `header-extension blocks of ${bytes} bytes`,
    codec: 'H264',
    perSecond: 2000,
    step: (publisher, index) =>
      publisher.send(TINY_IDR, { index: 1000 + index, timestamp: index * 90, marker: true, extensionBlock }),
  };
}

/** Fresh attacks, as publisherAttacks(). */
export async function oddPublishers(): Promise<readonly PublisherAttack[]> {
  const [wide, tall, large, film, vp8, vp8Tall, vp8Large] = await Promise.all([
    encodeClip({ codec: 'H264', seconds: 1 }),
    encodeClip({ codec: 'H264', width: 180, height: 320, seconds: 1 }),
    encodeClip({ codec: 'H264', width: 640, height: 360, seconds: 1 }),
    encodeClip({ codec: 'H264', seconds: 2 }),
    encodeClip({ codec: 'VP8', seconds: 1 }),
    encodeClip({ codec: 'VP8', width: 180, height: 320, seconds: 1 }),
    encodeClip({ codec: 'VP8', width: 640, height: 360, seconds: 1 }),
  ]);
  const first = ({ frames }: typeof wide) => frames[0]?.data ?? TINY_IDR;
  const frame = (index: number) => film.frames[index % film.frames.length]?.data ?? TINY_IDR;
  const random = noise(1);
  const turns = (...clips: readonly (typeof wide)[]) => {
    const units = clips.map(first);
    return (index: number) => units[index % units.length] ?? TINY_IDR;
  };
  return [
    stream('H264: another aspect with every frame', 'H264', turns(wide, tall)),
    stream('H264: another size of the same aspect with every frame', 'H264', turns(wide, large)),
    stream('VP8: another aspect with every frame', 'VP8', turns(vp8, vp8Tall)),
    stream('VP8: another size of the same aspect with every frame', 'VP8', turns(vp8, vp8Large)),
    stream('VP8: one of 500 sizes with every frame, one content', 'VP8', (index) =>
      sized(first(vp8), 100 + (index % 500), 600 - (index % 500)),
    ),
    stream('VP8 of 16383x16383', 'VP8', () => sized(first(vp8), 16_383, 16_383)),
    stream('VP8: two units of three are noise', 'VP8', (index) =>
      index % 3 === 0 ? Buffer.concat([first(vp8).subarray(0, 10), random(800)]) : random(800),
    ),
    stream('H264: nine slices of ten are noise', 'H264', (index) =>
      index % 10 === 0 ? first(wide) : Buffer.concat([Buffer.of(0, 0, 0, 1, 0x65), random(3000)]),
    ),
    stream(
      'timestamps that jump by hours',
      'H264',
      frame,
      (index) => index * 3000 + (index % 20 < 10 ? 0 : HOUR_TICKS * ((index % 7) + 1)),
    ),
    stream('timestamps 9.9 s apart', 'H264', frame, (index) => index * 891_000),
    stream('pictures for two seconds, none for five', 'H264', (index) => (index % 210 < 60 ? frame(index) : undefined)),
    extensionBombs(1400),
    extensionBombs(32_000),
  ];
}
