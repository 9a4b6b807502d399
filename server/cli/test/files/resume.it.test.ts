import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { readFilm, runFfmpeg } from '../../../../testing/film.ts';
import { AppError } from '../../../errors.ts';
import { upscaleFile, type UpscaleOptions } from '../../upscale-file.ts';
import { OPTIONS, X264, openWorkbench, pictures, tone } from './workbench.ts';

/** A run that is stopped keeps its finished segments of 250 frames; --resume makes of them what an uninterrupted run makes. */

const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
const { at, make } = openWorkbench();
const RESUME: UpscaleOptions = { ...OPTIONS, overwrite: false, resume: true };
const FRAMES = 624;

// Uneven times, with a gap where the second segment begins; the last of its 625 pictures is dropped by this ffmpeg.
beforeAll(async () => {
  const uneven = ['-vf', "setpts='(N/25+0.004*mod(N,7)+if(gt(N,251),1.3,0))/TB'", '-r', '1000', '-vsync', 'vfr'];
  const film = [...X264, ...uneven, '-video_track_timescale', '90000', '-c:a', 'aac', '-b:a', '32k'];
  await make('film.mp4', ...pictures(25, '32x32'), ...tone(26), ...film);
});
let folder = '';
let rounds = 0;
let server: Server | undefined;
const started: ChildProcess[] = [];
beforeEach(() => {
  rounds += 1;
  folder = at(`round-${rounds}`);
  mkdirSync(folder);
});
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL');
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

const inFolder = (name: string): string => path.join(folder, name);
const keptFolder = (): string | undefined => readdirSync(folder).find((name) => name.endsWith('.kept'));
const segments = (): string[] =>
  readdirSync(inFolder(keptFolder() ?? '')).filter((name) => /^segment-\d+-\d+$/.test(name));

/** @param onFrame may stop the run @returns what the user reads */
async function stopped(output: string, frames: number, options = RESUME, input = at('film.mp4')): Promise<AppError> {
  const progress = () => ({
    update: (done: number) => {
      if (done === frames) throw new Error('stopped by the test');
    },
    kept: () => undefined,
    say: () => undefined,
    finish: () => undefined,
    stop: () => undefined,
  });
  const run = upscaleFile(input, output, { ...options, progress });
  return run.then(
    () => Promise.reject(new Error('it was not stopped')),
    (error: unknown) => AppError.from(error),
  );
}

async function refusal(output: string, options: UpscaleOptions, input = at('film.mp4')): Promise<AppError> {
  const before = segments();
  const error = await upscaleFile(input, output, options).then(
    () => Promise.reject(new Error('it was not refused')),
    (thrown: unknown) => AppError.from(thrown),
  );
  expect(segments()).toEqual(before);
  return error;
}

describe.each([
  ['.mp4', { preset: 'fast' }],
  ['.ts', { codec: 'hevc' }],
] as const)('a film to %s, %o', (ending, extra) => {
  it('stopped at frame 510 and again at 560: the same bytes as a run that was never stopped', async () => {
    const output = inFolder(`resumed${ending}`);
    const options = { ...RESUME, ...extra };
    const error = await stopped(output, 510, options);
    expect(error.remedy).toContain('500 finished frames are kept: the same command with --resume goes on from there.');
    await stopped(output, 560, options);
    expect(existsSync(output)).toBe(false);
    const result = await upscaleFile(at('film.mp4'), output, options);
    expect(result).toMatchObject({ frames: FRAMES, keptFrames: 500 });
    expect(result.notices).toContain(`500 of the ${FRAMES} frames were there already.`);
    const whole = inFolder(`whole${ending}`);
    await upscaleFile(at('film.mp4'), whole, { ...options, resume: false });
    expect(readFileSync(output).equals(readFileSync(whole))).toBe(true);
    const source = await readFilm(at('film.mp4'));
    const film = await readFilm(output);
    expect(film.times.length).toBe(FRAMES);
    // A transport stream begins later, by its B-frames' delay.
    const offset = (film.times[0] ?? 0) - (source.times[0] ?? 0);
    const late = film.times.map((time, index) => Math.abs(time - offset - (source.times[index] ?? 0)));
    expect(Math.max(...late)).toBeLessThan(2e-3);
    expect(readdirSync(folder).sort()).toEqual([`resumed${ending}`, `whole${ending}`]);
  });
});

it('a model that remembers goes on with its memory: the same bytes; without it a segment is made again', async () => {
  const options = { ...RESUME, model: { ...OPTIONS.model, name: 'mini' }, sound: false };
  const output = inFolder('resumed.mp4');
  await stopped(output, 255, options);
  await stopped(output, 505, options);
  const place = (name: string): string => path.join(inFolder(keptFolder() ?? ''), name);
  expect(segments()).toEqual(['segment-000001-250', 'segment-000002-250']);
  // As a disk that fails leaves it.
  truncateSync(place('memory-000002'), 100);
  expect(readdirSync(place('')).filter((name) => name.startsWith('memory'))).toEqual([
    'memory-000001',
    'memory-000002',
  ]);
  expect(await upscaleFile(at('film.mp4'), output, options)).toMatchObject({ frames: FRAMES, keptFrames: 250 });
  await upscaleFile(at('film.mp4'), inFolder('whole.mp4'), { ...options, resume: false });
  expect(readFileSync(output).equals(readFileSync(inFolder('whole.mp4')))).toBe(true);
});

it('without --resume a left-over is named and stays; --overwrite removes it with a notice', async () => {
  const output = inFolder('x.mp4');
  await stopped(output, 260);
  const error = await refusal(output, { ...RESUME, resume: false });
  expect(error).toMatchObject({ code: 'file.unwritable' });
  expect(error.message).toMatch(/^A run for .*x\.mp4 was stopped; 250 finished frames of it are kept in .*\.kept\.$/);
  expect(error.remedy).toBe('Give --resume to go on from there, or --overwrite to remove them and start again.');
  const { notices, keptFrames } = await upscaleFile(at('film.mp4'), output, OPTIONS);
  expect(keptFrames).toBe(0);
  expect(notices[0]).toBe('250 frames of a run that was stopped were removed, as --overwrite asks for.');
  expect(readdirSync(folder)).toEqual(['x.mp4']);
});

it('another input, other flags, another model: refused with what differs', async () => {
  const output = inFolder('x.mp4');
  await stopped(output, 260);
  expect((await refusal(output, { ...RESUME, crf: 20 })).message).toMatch(/--crf was 18, now it is 20\.$/);
  expect((await refusal(output, { ...RESUME, model: { ...OPTIONS.model, scale: 3 } })).message).toMatch(
    /the model was resize x2, lanczos, now it is resize x3, lanczos\.$/,
  );
  copyFileSync(at('film.mp4'), inFolder('other.mp4'));
  expect((await refusal(output, RESUME, inFolder('other.mp4'))).message).toMatch(/the input was \d+ bytes of .*, now/);
});

it('a damaged segment is made again, with those behind it', async () => {
  const output = inFolder('x.mp4');
  await stopped(output, 510);
  const [, second = ''] = segments();
  const file = path.join(inFolder(keptFolder() ?? ''), second);
  truncateSync(file, statSync(file).size - 40);
  expect(await upscaleFile(at('film.mp4'), output, RESUME)).toMatchObject({ frames: FRAMES, keptFrames: 250 });
});

it('less than a minute of work is kept for --resume only', async () => {
  const output = inFolder('x.mp4');
  const plain = { ...RESUME, resume: false };
  expect((await stopped(output, 260, plain)).remedy).not.toContain('kept');
  expect(readdirSync(folder)).toEqual([]);
  const ageing = () => ({
    update: (done: number) => {
      if (done !== 255) return;
      const manifest = path.join(inFolder(keptFolder() ?? ''), 'manifest.json');
      const { atime, mtimeMs } = statSync(manifest);
      utimesSync(manifest, atime, new Date(mtimeMs - 61_000));
      throw new Error('stopped by the test');
    },
    kept: () => undefined,
    say: () => undefined,
    finish: () => undefined,
    stop: () => undefined,
  });
  await expect(upscaleFile(at('film.mp4'), output, { ...plain, progress: ageing })).rejects.toThrow();
  expect(segments()).toEqual(['segment-000001-250']);
});

it('a process that is killed, with its child, leaves what --resume goes on from; a batch passes what is complete', async () => {
  let serveAll = false;
  // The film's index first, and 70 % of its pictures: what the job reads next never comes.
  await runFfmpeg('-i', at('film.mp4'), '-c', 'copy', '-movflags', '+faststart', inFolder('in.mp4'));
  const whole = readFileSync(inFolder('in.mp4'));
  server = createServer((_request, response) => {
    response.writeHead(200, { 'content-length': whole.length });
    if (serveAll) response.end(whole);
    else response.write(whole.subarray(0, Math.floor(0.7 * whole.length)));
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/in.mp4`;
  const flags = ['--model', 'resize', '--scale', '2', '--preset', 'ultrafast', '--resume'];
  const command = (...names: string[]): ChildProcess => {
    const child = spawn(process.execPath, ['--import', 'tsx', 'server/cli/main.ts', 'upscale', ...names, ...flags], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
    });
    started.push(child);
    return child;
  };
  mkdirSync(inFolder('out'));
  const first = command(address, `${inFolder('out')}/`);
  const kept = (): string | undefined => readdirSync(inFolder('out')).find((name) => name.endsWith('.kept'));
  const count = (): number =>
    readdirSync(path.join(inFolder('out'), kept() ?? '')).filter((name) => /^segment-\d+-250$/.test(name)).length;
  while (count() === 0 && first.exitCode === null) await new Promise((resolve) => setTimeout(resolve, 20));
  // The whole group: no process is left that could tidy up.
  process.kill(-(first.pid ?? 0), 'SIGKILL');
  await once(first, 'close');
  serveAll = true;
  const second = command(address, `${inFolder('out')}/`);
  const words: string[] = [];
  for (const stream of [second.stdout, second.stderr])
    stream?.on('data', (data: Buffer) => words.push(data.toString()));
  expect(await once(second, 'close'), words.join('')).toEqual([0, null]);
  expect(words.join('')).toMatch(/in\.mp4: 625 frames[^]*(250|500) of the 625 frames were there already\./);
  expect(readdirSync(inFolder('out'))).toEqual(['in.mp4']);
  const third = command(address, `${inFolder('out')}/`);
  let errors = '';
  third.stderr?.on('data', (data: Buffer) => (errors += data.toString()));
  expect(await once(third, 'close')).toEqual([0, null]);
  expect(errors).toMatch(/in\.mp4 is complete already\./);
});

it('pictures: those that are there are passed, whichever they are; the rest is made', async () => {
  mkdirSync(inFolder('in'));
  await runFfmpeg(...pictures(0.4, '16x16'), path.join(inFolder('in'), 'p%02d.png'));
  const output = `${inFolder('out')}/`;
  await stopped(output, 4, RESUME, inFolder('in'));
  const kept = readdirSync(output).find((name) => name.endsWith('.kept')) ?? '';
  expect(readdirSync(path.join(output, kept)).sort()).toEqual([
    'manifest.json',
    'p01.png',
    'p02.png',
    'p03.png',
    'p04.png',
  ]);
  const first = await upscaleFile(inFolder('in'), output, RESUME);
  expect(first).toMatchObject({ frames: 10, keptFrames: 4 });
  const all = readdirSync(output).sort();
  expect(all.length).toBe(10);
  rmSync(path.join(output, 'p03.png'));
  rmSync(path.join(output, 'p07.png'));
  expect(await upscaleFile(inFolder('in'), output, RESUME)).toMatchObject({ frames: 10, keptFrames: 8 });
  expect(readdirSync(output).sort()).toEqual(all);
});
