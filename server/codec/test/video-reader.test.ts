import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { AVERROR_EIO } from 'node-av/constants';
import { FormatContext } from 'node-av/lib';
import { afterAll, afterEach, expect, it, vi } from 'vitest';
import { VideoReader } from '../video-reader.ts';

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
