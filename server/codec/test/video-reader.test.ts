import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AVERROR_EIO } from 'node-av/constants';
import { FormatContext } from 'node-av/lib';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { VideoReader } from '../video-reader.ts';
import { VideoWriter } from '../video-writer.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'video-reader-'));
const film = path.join(folder, 'film.y4m');
/** Ten pictures of 64x48. */
const frame = Buffer.concat([Buffer.from('FRAME\n'), Buffer.alloc((64 * 48 * 3) / 2, 99)]);
writeFileSync(
  film,
  Buffer.concat([Buffer.from('YUV4MPEG2 W64 H48 F25:1 C420jpeg\n'), ...Array<Buffer>(10).fill(frame)]),
);
afterEach(() => vi.restoreAllMocks());
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A disk that fails once `good` packets have been read. */
function failAfter(good: number): void {
  // eslint-disable-next-line @typescript-eslint/unbound-method -- called with the context that the spy gets
  const readFrame = FormatContext.prototype.readFrame;
  let reads = 0;
  vi.spyOn(FormatContext.prototype, 'readFrame').mockImplementation(function (this: FormatContext, packet) {
    reads += 1;
    return reads > good ? Promise.resolve(AVERROR_EIO) : readFrame.call(this, packet);
  });
}

async function picturesUntilError(): Promise<{ pictures: number; error: unknown }> {
  const reader = await VideoReader.open(film, 1);
  let pictures = 0;
  try {
    for await (const item of reader.read()) {
      if (item.type === 'picture') item.picture.release();
      pictures += 1;
    }
    return { pictures, error: undefined };
  } catch (error) {
    return { pictures, error };
  } finally {
    await reader.close();
  }
}

it('reads all pictures of a disk that works', async () => {
  expect(await picturesUntilError()).toEqual({ pictures: 10, error: undefined });
});

it.each([0, 4, 9])('a disk that fails after %i packets is an error, not the end of the film', async (good) => {
  failAfter(good);
  const { pictures, error } = await picturesUntilError();
  expect(pictures).toBeLessThanOrEqual(good);
  expect(error).toMatchObject({
    code: 'file.unreadable',
    message: `${film} cannot be read as a video: reading stopped in the middle (Input/output error).`,
  });
});

/** The film above as an MP4. */
async function writeMp4(file: string): Promise<void> {
  const reader = await VideoReader.open(film, 1);
  const options = { width: 64, height: 48, crf: 18, preset: 'ultrafast', threads: 1, sound: true };
  let writer: VideoWriter | undefined;
  try {
    for await (const item of reader.read()) {
      if (item.type !== 'picture') continue;
      writer ??= await VideoWriter.open({ name: file, part: file }, reader, options);
      await writer.write(item.picture, { index: 0, pts: item.pts, duration: item.duration });
      item.picture.release();
    }
    await writer?.finish();
  } finally {
    await writer?.close();
    await reader.close();
  }
}

it('a line names chapters, which are not kept', async () => {
  const file = path.join(folder, 'chapters.mp4');
  await writeMp4(file);
  const noticesOf = async (): Promise<readonly string[]> => {
    const reader = await VideoReader.open(file, 1);
    await reader.close();
    return reader.notices;
  };
  expect(await noticesOf()).toEqual([]);
  // `udta` with a list (`chpl`, version 0) of two titles of one letter at 0 and 0.2 s, in units of 100 ns.
  const title = (at: number): number[] => [0, 0, 0, 0, ...[at >> 24, at >> 16, at >> 8, at], 1, 0x61];
  const list = [...Buffer.from('chpl'), 0, 0, 0, 0, 2, ...title(0), ...title(2_000_000)];
  appendFileSync(
    file,
    Buffer.from([0, 0, 0, list.length + 12, ...Buffer.from('udta'), 0, 0, 0, list.length + 4, ...list]),
  );
  expect(await noticesOf()).toEqual([`Chapters are not kept: ${file} has 2.`]);
});
