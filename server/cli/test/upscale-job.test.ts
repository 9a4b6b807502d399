import type { Dictionary, Stream } from 'node-av/lib';
import { expect, it } from 'vitest';
import type { FilmWriter } from '../../codec/film-writer.ts';
import { TICKS_PER_PICTURE, type FilmSource } from '../../codec/video-reader.ts';
import type { Picture } from '../../media/picture.ts';
import type { StreamFormat, Upscaler, UpscalerInfo } from '../../upscalers/upscaler.ts';
import { UpscaleJob } from '../upscale-job.ts';

const INFO: UpscalerInfo = {
  kind: 'flashvsr',
  label: 'fake',
  superResolution: true,
  scale: 1,
  device: 'cpu',
  lookAheadFrames: 0,
  chunkFrames: 8,
  rungs: ['one'],
};

/** What a job of `frames` pictures does with them, those of `isKept` being there. */
async function run(
  frames: number,
  isKept: (index: number) => boolean,
  info: UpscalerInfo,
  firstIndex = 0,
  memory?: Uint8Array,
) {
  const remembered: string[] = [];
  const pushed: number[] = [];
  const written: number[] = [];
  const passed: number[] = [];
  let format: StreamFormat | undefined;
  const picture = (index: number): Picture =>
    ({ mediaTime: index * TICKS_PER_PICTURE, release: () => undefined }) as unknown as Picture;
  const source = {
    info: { width: 16, height: 16 },
    async *read() {
      for (let index = 0; index < frames; index += 1) {
        await Promise.resolve();
        yield { type: 'picture', picture: picture(index), pts: BigInt(index), duration: 1n };
      }
    },
    metadata: null as Dictionary | null,
    streams: [] as Stream[],
  } as unknown as FilmSource;
  const upscaler: Upscaler = {
    info,
    openStream: (asked, listener) => {
      format = asked;
      return Promise.resolve({
        outputWidth: 16,
        outputHeight: 16,
        pending: 0,
        ready: true,
        push: (pushedPicture) => {
          pushed.push(pushedPicture.mediaTime / TICKS_PER_PICTURE);
          listener.onPicture(pushedPicture);
          return 'accepted';
        },
        setRung: () => undefined,
        flush: () => Promise.resolve(),
        memory: info.givesMemory === true ? () => Promise.resolve(new Uint8Array([pushed.at(-1) ?? 255])) : undefined,
        close: () => Promise.resolve(),
      });
    },
    close: () => Promise.resolve(),
  };
  const writer = {
    write: (_picture: Picture, { index }: { index: number }) => Promise.resolve(void written.push(index)),
    endsSegment: (index: number) => index % 10 === 9,
    remember: ([last]: Uint8Array) => void remembered.push(`${last} before ${written.at(-1)} is written`),
    passKept: ({ index }: { index: number }) => Promise.resolve(void passed.push(index)),
  } as unknown as FilmWriter;
  const events = { onWritten: () => undefined, onKept: () => undefined };
  const job = new UpscaleJob(source, upscaler, () => Promise.resolve(writer), events, { firstIndex, isKept, memory });
  expect(await job.run()).toBe(frames);
  const places = { startFrame: format?.startFrame };
  return {
    pushed,
    written,
    passed,
    ...places,
    ...(info.givesMemory === true ? { remembered, given: format?.memory } : {}),
  };
}

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index);

it('a model without memory gets the missing pictures only', async () => {
  const found = await run(30, (index) => index < 20 && index !== 7, INFO);
  expect(found.pushed).toEqual([7, ...range(20, 30)]);
  expect(found.written).toEqual(found.pushed);
  expect(found.passed).toEqual([...range(0, 7), ...range(8, 20)]);
});

it('one with memory begins before the first missing picture, where a chunk begins, and knows where it is', async () => {
  const found = await run(60, (index) => index < 50, { ...INFO, warmUpFrames: 17 });
  expect(found).toEqual({ pushed: range(32, 60), written: range(50, 60), passed: range(0, 50), startFrame: 32 });
  const near = await run(60, (index) => index < 10, { ...INFO, warmUpFrames: 17 });
  expect(near).toEqual({ pushed: range(0, 60), written: range(10, 60), passed: range(0, 10), startFrame: 0 });
});

it('counts from the pictures of the jobs before, and from its own stream', async () => {
  const found = await run(30, (index) => index < 120, { ...INFO, warmUpFrames: 9 }, 100);
  expect(found).toEqual({ pushed: range(8, 30), written: range(120, 130), passed: range(100, 120), startFrame: 8 });
});

it('one whose memory was kept begins with the first missing picture, and gives its memory at the end of each segment', async () => {
  const info = { ...INFO, chunkFrames: 1, warmUpFrames: 17, givesMemory: true };
  const memory = new Uint8Array([7]);
  expect(await run(35, (index) => index < 20, info, 0, memory)).toEqual({
    pushed: range(20, 35),
    written: range(20, 35),
    passed: range(0, 20),
    startFrame: 20,
    given: memory,
    // The fake delivers at once; the picture in front of the segment's last one is the last that was written.
    remembered: ['29 before 28 is written'],
  });
});
