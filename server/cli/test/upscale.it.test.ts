import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import ffmpegInstaller from '@ffmpeg-installer/ffmpeg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { VideoReader } from '../../codec/video-reader.ts';
import { configSchema } from '../../config/config.ts';
import { delayModel, nearestModel } from '../../../testing/onnx-file.ts';
import { AppError } from '../../errors.ts';
import { upscaleIsolated } from '../isolated-upscale.ts';
import { upscaleFile, type UpscaleOptions, type UpscaleResult } from '../upscale-file.ts';

const run = promisify(execFile);
const folder = mkdtempSync(path.join(tmpdir(), 'upscale-test-'));
const at = (name: string): string => path.join(folder, name);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const ffmpeg = (...args: string[]): Promise<unknown> => run(ffmpegInstaller.path, ['-v', 'error', '-y', ...args]);
const pattern = (size: string, rate: number, seconds: number): string[] => [
  '-f',
  'lavfi',
  '-i',
  `testsrc=size=${size}:rate=${rate}:duration=${seconds}`,
];

beforeAll(async () => {
  const tone = ['-f', 'lavfi', '-i', 'sine=frequency=440:duration=1'];
  await ffmpeg(...pattern('320x180', 30, 1), ...tone, '-c:v', 'libx264', '-c:a', 'aac', '-shortest', at('sound.mp4'));
  await ffmpeg(...pattern('320x180', 30, 1), '-frames:v', '1', '-pix_fmt', 'yuv420p', at('one.mp4'));
  await ffmpeg(...pattern('321x181', 25, 1), '-c:v', 'libvpx', at('odd.webm'));
  const gaps = "select='not(mod(n,3))+gt(n,20)'";
  await ffmpeg(
    ...pattern('160x120', 30, 1),
    '-vf',
    gaps,
    '-vsync',
    'vfr',
    '-pix_fmt',
    'yuv444p',
    '-c:v',
    'libx264',
    at('gaps.mkv'),
  );
  writeFileSync(at('text.mp4'), 'this is not a video');
  await ffmpeg(...tone, at('song.m4a'));
  writeFileSync(at('nearest.onnx'), nearestModel(2));
  writeFileSync(at('delay.onnx'), delayModel(2));
});

const OPTIONS: UpscaleOptions = {
  model: configSchema.shape.model.parse({ name: 'resize', scale: 2 }),
  crf: 18,
  preset: 'ultrafast',
  overwrite: false,
};
const upscale = (input: string, output: string, options: Partial<UpscaleOptions> = {}): Promise<UpscaleResult> =>
  upscaleFile(at(input), at(output), { ...OPTIONS, ...options });

interface Content {
  /** Seconds. */
  readonly times: readonly number[];
  readonly size: string;
  readonly audio: string;
  readonly lumas: readonly number[];
}

async function contentOf(name: string): Promise<Content> {
  const reader = await VideoReader.open(at(name), 1);
  const { num, den } = reader.info.timeBase;
  const times: number[] = [];
  const lumas: number[] = [];
  const audio = createHash('sha256');
  for await (const item of reader.read()) {
    if (item.type === 'picture') {
      times.push((Number(item.pts) * num) / den);
      lumas.push(item.picture.y[0] ?? 0);
      item.picture.release();
    } else {
      audio.update(item.packet.data ?? '');
      item.packet.free();
    }
  }
  await reader.close();
  const { width, height } = reader.info;
  return { times, size: `${width}x${height}`, audio: reader.audio.length === 0 ? 'none' : audio.digest('hex'), lumas };
}

it.each([
  ['sound.mp4', 'sound-out.mp4', 30, '640x360'],
  ['sound.mp4', 'sound-out.mkv', 30, '640x360'],
  ['one.mp4', 'one-out.mp4', 1, '640x360'],
  ['odd.webm', 'odd-out.mp4', 25, '642x362'],
  ['gaps.mkv', 'gaps-out.mkv', 16, '320x240'],
])('%s to %s: every frame, its time and the audio are kept', async (input, output, frames, size) => {
  const result = await upscale(input, output);
  expect(result.frames).toBe(frames);
  const [before, after] = [await contentOf(input), await contentOf(output)];
  expect(before.times).toHaveLength(frames);
  expect(after.size).toBe(size);
  expect(after.audio).toBe(before.audio);
  expect(after.times).toHaveLength(frames);
  // Containers round times to their own clock, a millisecond at most.
  const start = after.times[0] ?? 0;
  after.times.forEach((time, index) => {
    expect(Math.abs(time - start - ((before.times[index] ?? 0) - (before.times[0] ?? 0)))).toBeLessThan(0.0011);
  });
});

it('runs an ONNX model over a file without losing the tail', async () => {
  const model = { ...OPTIONS.model, name: at('nearest.onnx') };
  const result = await upscale('gaps.mkv', 'onnx-out.mp4', { model });
  expect(result).toMatchObject({ frames: 16, width: 320, height: 240, label: 'nearest' });
});

it('hands recurrent state along the file', async () => {
  const result = await upscale('one.mp4', 'delay-out.mp4', { model: { ...OPTIONS.model, name: at('delay.onnx') } });
  expect(result.frames).toBe(1);
  // The delay model's first picture is black: its state starts from zeros.
  expect((await contentOf('delay-out.mp4')).lumas[0]).toBeLessThan(20);
});

/** What a job keeps in the result's folder until it ends. */
const unfinished = (): string[] => readdirSync(folder).filter((name) => name.startsWith('.'));

const failure = async (action: Promise<unknown>): Promise<AppError> => {
  const error: unknown = await action.catch((thrown: unknown) => thrown);
  if (error instanceof AppError) return error;
  throw new Error(`no AppError but ${String(error)}`);
};

it.each([
  ['missing.mp4', 'x.mp4', /missing\.mp4 does not exist/],
  ['text.mp4', 'x.mp4', /text\.mp4 cannot be read as a video: Invalid data/],
  ['song.m4a', 'x.mp4', /song\.m4a cannot be read as a video: it has no video/],
  ['one.mp4', 'x.unknown', /x\.unknown cannot be written: \.unknown is no format of a result/],
  ['one.mp4', 'nowhere/x.mp4', /folder .*nowhere does not exist/],
  ['one.mp4', 'one.mp4', /same file/],
])('says what is wrong with %s to %s and leaves nothing behind', async (input, output, message) => {
  const before = readdirSync(folder).sort();
  const error = await failure(upscale(input, output));
  expect(error.message).toMatch(message);
  expect(error.remedy).not.toBe('');
  expect(readdirSync(folder).sort()).toEqual(before);
});

it('does not overwrite without --overwrite', async () => {
  writeFileSync(at('kept.mp4'), 'precious');
  expect((await failure(upscale('one.mp4', 'kept.mp4'))).message).toMatch(/exists already/);
  await upscale('one.mp4', 'kept.mp4', { overwrite: true });
  expect((await contentOf('kept.mp4')).times).toHaveLength(1);
});

it('works as a command: help, result line, exit codes', async () => {
  const root = fileURLToPath(new URL('../../../', import.meta.url));
  const cli = (...args: string[]) =>
    run(process.execPath, ['--import', 'tsx', path.join(root, 'server/cli/main.ts'), ...args], { cwd: root });
  expect((await cli('upscale', '--help')).stdout).toMatch(
    /Model:[\s\S]*--model <name>[\s\S]*Input:[\s\S]*--trim[\s\S]*Result:[\s\S]*--overwrite/,
  );
  const done = await cli('upscale', at('gaps.mkv'), at('command.mp4'), '--model', 'resize', '--scale', '3');
  expect(done.stdout).toMatch(/command\.mp4: 16 frames of 480x360 by Lanczos resize/);
  expect(done.stderr).toMatch(/16 of 16 \(100 %\) frames/);
  const wrong: unknown = await cli('upscale', at('gaps.mkv'), at('y.mp4'), '--scale', 'many').catch(
    (error: unknown) => error,
  );
  expect(wrong).toMatchObject({ code: 1 });
  expect((wrong as { stderr: string }).stderr).toMatch(/--scale is "many"; it must be a number from 1 to 8/);
  expect(existsSync(at('y.mp4'))).toBe(false);
});

it('does the whole job in a separate process, with progress, and reports its errors', async () => {
  const steps: number[] = [];
  const progress = (total: number | undefined) => {
    steps.push(total ?? 0);
    return {
      update: (done: number) => void steps.push(done),
      kept: () => undefined,
      say: () => undefined,
      finish: (done: number) => void steps.push(done),
      stop: () => undefined,
    };
  };
  const result = await upscaleIsolated(at('sound.mp4'), at('isolated.mp4'), { ...OPTIONS, progress });
  expect(result).toMatchObject({ frames: 30, width: 640, height: 360, label: 'Lanczos resize' });
  expect([steps[0], steps.at(-1)]).toEqual([30, 30]);
  expect(existsSync(at('isolated.mp4'))).toBe(true);
  const refused = upscaleIsolated(at('text.mp4'), at('isolated-text.mp4'), OPTIONS);
  await expect(refused).rejects.toMatchObject({
    code: 'file.unreadable',
    message: expect.stringMatching(/text\.mp4/) as string,
  });
});

it('survives a file that crashes the decoder: an error with the name of the file, and nothing left of the result', async () => {
  const program = new URL('./programs/crash.mjs', import.meta.url);
  const crashed = upscaleIsolated(at('sound.mp4'), at('crashed.mp4'), OPTIONS, { program });
  await expect(crashed).rejects.toMatchObject({
    code: 'file.unreadable',
    message: `Reading ${at('sound.mp4')} crashed the process that decodes it (SIGSEGV).`,
  });
  expect(unfinished()).toEqual([]);
  expect(existsSync(at('crashed.mp4'))).toBe(false);
  // The same in the middle of the real program's work.
  const progress = () => ({
    update: () => void child?.kill('SIGSEGV'),
    kept: () => undefined,
    say: () => undefined,
    finish: () => undefined,
    stop: () => undefined,
  });
  let child: { kill(signal: NodeJS.Signals): void } | undefined;
  const onChild = (started: NonNullable<typeof child>): void => void (child = started);
  const killed = upscaleIsolated(at('sound.mp4'), at('killed.mp4'), { ...OPTIONS, progress }, { onChild });
  await expect(killed).rejects.toThrow(/sound\.mp4 crashed the process that decodes it \(SIGSEGV\)/);
  expect(unfinished()).toEqual([]);
  expect(existsSync(at('killed.mp4'))).toBe(false);
});

it('opens no second file: playlists, lists of files and patterns are refused, as are codecs and protocols off the list', async () => {
  writeFileSync(at('list.m3u8'), `#EXTM3U\n#EXTINF:1,\n${at('sound.mp4')}\n#EXT-X-ENDLIST\n`);
  writeFileSync(at('list.ffconcat'), `ffconcat version 1.0\nfile '${at('sound.mp4')}'\n`);
  writeFileSync(at('list.mp4'), `ffconcat version 1.0\nfile 'sound.mp4'\n`);
  await ffmpeg(...pattern('32x32', 10, 1), '-c:v', 'zmbv', at('zmbv.avi'));
  const refused: readonly (readonly [string, RegExp])[] = [
    [at('list.m3u8'), /cannot be read as a video/],
    [at('list.ffconcat'), /not one of the allowed/],
    [at('list.mp4'), /not one of the allowed/],
    [at('zmbv.avi'), /its video codec, zmbv, is not one of the allowed ones/],
    [`concat:${at('sound.mp4')}|${at('one.mp4')}`, /cannot be read/],
    ['data://text/plain,x', /only files and http or https/],
    ['rtmp://127.0.0.1/x', /only files and http or https/],
  ];
  for (const [input, reason] of refused) await expect(VideoReader.open(input, 1), input).rejects.toThrow(reason);
  await run('cp', [at('one.mp4'), at('2024-05-04T10:11:12.mp4')]);
  await (await VideoReader.open(at('2024-05-04T10:11:12.mp4'), 1)).close();
});

it('names a full disk and keeps nothing of the result', async () => {
  // A file-size limit fails the write as a full disk does, without needing to mount one.
  const program = new URL('./programs/small-files.mjs', import.meta.url);
  const full = upscaleIsolated(at('sound.mp4'), at('full.mp4'), { ...OPTIONS, crf: 0 }, { program });
  await expect(full).rejects.toMatchObject({
    code: 'file.unwritable',
    message: expect.stringMatching(/full\.mp4 cannot be written/) as string,
  });
  expect(unfinished()).toEqual([]);
  expect(existsSync(at('full.mp4'))).toBe(false);
});
