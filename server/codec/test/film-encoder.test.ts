import { AVERROR_EAGAIN, AVERROR_EOF } from 'node-av/constants';
import { Frame, type CodecContext, type Packet } from 'node-av/lib';
import { expect, it } from 'vitest';
import { FilmEncoder } from '../film-encoder.ts';

/** An encoder that holds all pictures until the end, then gives packets of these times, by the order of the pictures' times. */
function fakeEncoder(
  times: (pts: readonly bigint[]) => readonly (readonly [pts: bigint, dts: bigint])[],
): CodecContext {
  const pushed: bigint[] = [];
  let left: (readonly [bigint, bigint])[] | undefined;
  const fake = {
    timeBase: { num: 1, den: 25 },
    sendFrame: (frame: Frame | null) => {
      if (frame === null) left = [...times(pushed)];
      else pushed.push(frame.pts);
      return Promise.resolve(0);
    },
    receivePacket: (packet: Packet) => {
      const next = left?.shift();
      if (next === undefined) return Promise.resolve(left === undefined ? AVERROR_EAGAIN : AVERROR_EOF);
      packet.data = Buffer.of(1);
      Object.assign(packet, { pts: next[0], dts: next[1] });
      return Promise.resolve(0);
    },
    freeContext: () => undefined,
  };
  return fake as unknown as CodecContext;
}

async function dtsOf(frames: number, times: Parameters<typeof fakeEncoder>[0]): Promise<bigint[]> {
  const written: bigint[] = [];
  const encoder = new FilmEncoder({
    file: 'x.mp4',
    open: () => fakeEncoder(times),
    write: ({ pts, dts }) => {
      expect(dts).toBeLessThanOrEqual(pts);
      expect(dts).toBeGreaterThan(written.at(-1) ?? -1000n);
      written.push(dts);
      return Promise.resolve();
    },
    segmentFrames: 250,
  });
  const frame = new Frame();
  frame.alloc();
  for (let index = 0; index < frames; index += 1) {
    frame.pts = BigInt(index);
    await encoder.encode(frame, 1n);
  }
  await encoder.finish();
  await encoder.close();
  frame.free();
  return written;
}

it.each([-1_222_437_137_971_083_770n, 827_621_096n, 3n])(
  'decoding times that x265 makes up (off by %s) are put right in a film that is too short for it',
  async (off) => {
    expect(await dtsOf(1, ([first = 0n]) => [[first, first + off]])).toEqual([-2n]);
    // I0 P2 B1.
    const three = await dtsOf(3, () => [
      [0n, off],
      [2n, off + 1n],
      [1n, off + 2n],
    ]);
    expect(three).toEqual([-2n, -1n, 0n]);
  },
);

it('those that are right stay', async () => {
  const right = [
    [0n, -2n],
    [4n, -1n],
    [2n, 0n],
    [1n, 1n],
    [3n, 2n],
  ] as const;
  expect(await dtsOf(5, () => right)).toEqual([-2n, -1n, 0n, 1n, 2n]);
});
