import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { readFilm, runFfmpeg, type Film } from '../../../testing/film.ts';

/** `upscale` between two pipes: what comes in is read once, from front to end, and so is what goes out. */

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'standard-streams-'));
const at = (name: string): string => path.join(folder, name);
const started: ChildProcess[] = [];

beforeAll(async () => {
  const picture = ['-f', 'lavfi', '-i', 'testsrc=size=64x48:rate=25:duration=0.4'];
  const sound = ['-f', 'lavfi', '-i', 'sine=sample_rate=48000:duration=0.4'];
  const h264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p'];
  await runFfmpeg(...picture, ...sound, ...h264, '-c:a', 'ac3', at('in.mkv'));
  // Lossless noise of 400 kB: larger than libav's buffer, in which even a pipe goes back.
  const noise = ['-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-s', '256x256', '-r', '25', '-i', at('noise.yuv')];
  writeFileSync(at('noise.yuv'), noiseOf(4 * 256 * 256 * 1.5));
  await runFfmpeg(...noise, ...h264, '-crf', '0', at('index-at-end.mp4'));
});
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** By a linear congruential generator. */
function noiseOf(bytes: number): Buffer {
  let state = 1;
  return Buffer.from(
    Uint8Array.from({ length: bytes }, () => (state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) >>> 24),
  );
}

interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<unknown[]>;
  readonly words: Promise<string>;
}

function upscale(input: Readable, ...args: string[]): Running {
  const flags = ['--model', 'resize', '--scale', '2', '--preset', 'veryfast'];
  const program = ['--import', 'tsx', path.join(ROOT, 'server/cli/main.ts'), 'upscale', ...args, ...flags];
  const child = spawn(process.execPath, program, { cwd: ROOT, stdio: ['pipe', 'pipe', 'pipe'] });
  started.push(child);
  // The job may end before it has read everything.
  child.stdin.on('error', () => input.destroy());
  input.pipe(child.stdin);
  return { child, ended: once(child, 'close'), words: text(child.stderr) };
}

/** Times of the pictures after the first sound, in ms. */
function sinceSound({ times, audio: [sound] }: Film): number[] {
  return times.map((time) => Math.round((time - (sound?.start ?? NaN)) * 1000));
}

it.each(['matroska', 'mpegts', 'nut', 'mp4'])(
  'a film in by a pipe, out by another as %s, with its times and sound',
  async (format) => {
    const { child, ended, words } = upscale(createReadStream(at('in.mkv')), '-', '-', '--format', format);
    writeFileSync(at('out'), await buffer(child.stdout as Readable));
    expect(await ended, await words).toEqual([0, null]);
    expect(await words).toMatch(/^standard output: 10 frames of 128x96 by Lanczos resize/m);
    const film = await readFilm(at('out'));
    expect([film.width, film.height]).toEqual([128, 96]);
    // Muxers that know no negative times move sound and pictures together.
    expect(sinceSound(film)).toEqual(sinceSound(await readFilm(at('in.mkv'))));
    expect(film.audio.map(({ codec, packets }) => [codec, packets])).toEqual([['ac3', 13]]);
  },
);

it('results come while the input goes on; a reader that leaves ends the job with a line', async () => {
  const frame = Buffer.concat([Buffer.from('FRAME\n'), Buffer.alloc((64 * 48 * 3) / 2, 99)]);
  const endless = Readable.from(
    (function* () {
      yield Buffer.from('YUV4MPEG2 W64 H48 F25:1 C420jpeg\n');
      for (;;) yield frame;
    })(),
  );
  const { child, ended, words } = upscale(endless, '-', '-', '--format', 'mpegts');
  await once(child.stdout as Readable, 'data');
  child.stdout?.destroy();
  expect(await ended).toEqual([1, null]);
  expect(await words).toMatch(
    /^standard output was closed by the program that reads it; the result is incomplete\.\nLet that program read/m,
  );
});

it('an MP4 with its index at the end is refused with the way out, and nothing is left', async () => {
  const { ended, words } = upscale(createReadStream(at('index-at-end.mp4')), '-', at('out.mp4'));
  expect(await ended).toEqual([1, null]);
  expect(await words).toMatch(
    /^standard input cannot be read as a video: an MP4 or MOV comes through a pipe only with/m,
  );
  expect(readdirSync(folder).filter((name) => !/^(in\.mkv|noise\.yuv|index-at-end\.mp4|out)$/.test(name))).toEqual([]);
});
