import { spawn, type ChildProcess } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createReadStream, existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { readTracks, type FilmTrack } from '../../testing/film-tracks.ts';
import { runFfmpeg } from '../../testing/film.ts';
import { printTable } from '../table.ts';

/**
 * A film of minutes through the command: its memory, its progress, a stop in the middle and --resume, the length of pictures and sound.
 * The film is a few seconds of a moving pattern with sound, joined many times over.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FRAMES_PER_SECOND = 25;
const PIECE_SECONDS = 10;
const SAMPLE_MS = 200;
const MIB = 2 ** 20;
/** Between the second and the last quarter of a run: caches that fill, not a frame kept for each frame read. */
const GROWTH_MIB = 64;

interface Run {
  readonly exitCode: number | null;
  readonly words: string;
  /** Resident memory of the process and those that it started, MiB. */
  readonly memory: readonly number[];
}

type Check = readonly [name: string, passes: boolean, found: string];

/** @returns whether all of it passes; prints a table */
export async function checkLongFilm(minutes: number): Promise<boolean> {
  const folder = mkdtempSync(path.join(tmpdir(), 'long-film-'));
  try {
    const at = (name: string): string => path.join(folder, name);
    const frames = await makeFilm(at, minutes);
    const checks = [...(await checkWhole(at, frames)), ...(await checkResumed(at, frames)), ...(await checkLevel(at))];
    printTable(
      `A film of ${minutes} minutes, ${frames} frames of 320x180`,
      checks.map(([name, passes, found]) => [passes ? 'pass' : 'FAIL', name, found]),
    );
    return checks.every(([, passes]) => passes);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

async function makeFilm(at: (name: string) => string, minutes: number): Promise<number> {
  const pieces = Math.max(2, Math.round((minutes * 60) / PIECE_SECONDS));
  const pattern = `testsrc2=size=320x180:rate=${FRAMES_PER_SECOND}:duration=${PIECE_SECONDS}`;
  const tone = `sine=frequency=440:sample_rate=48000:duration=${PIECE_SECONDS}`;
  const inputs = ['-f', 'lavfi', '-i', pattern, '-f', 'lavfi', '-i', tone];
  // PCM: pieces of AAC would each bring their priming.
  const codecs = ['-c:v', 'libx264', '-preset', 'veryfast', '-pix_fmt', 'yuv420p', '-bf', '2', '-c:a', 'pcm_s16le'];
  await runFfmpeg(...inputs, ...codecs, at('piece.mov'));
  await runFfmpeg('-stream_loop', String(pieces - 1), '-i', at('piece.mov'), '-c', 'copy', at('film.mov'));
  const video = videoOf((await readTracks(at('film.mov'))).tracks);
  return video.packets.length;
}

async function checkWhole(at: (name: string) => string, frames: number): Promise<Check[]> {
  const run = await upscale([at('film.mov'), at('whole.mkv'), '--codec', 'h264'], () => false);
  const { tracks } = await readTracks(at('whole.mkv'));
  const video = videoOf(tracks);
  const sound = tracks.find(({ codec }) => codec === 'pcm_s16le');
  const length = frames / FRAMES_PER_SECOND;
  const ends = [endOf(video), endOf(sound)] as const;
  const quarter = Math.floor(run.memory.length / 4);
  const early = Math.max(...run.memory.slice(quarter, 2 * quarter));
  const late = Math.max(...run.memory.slice(3 * quarter));
  const progress = progressOf(run.words);
  const grows = progress.every((line, index) => index === 0 || line.done >= (progress[index - 1]?.done ?? 0));
  const shares = progress.map(({ share }) => share);
  const timed = progress.slice(0, -1).every(({ left }) => left !== undefined);
  return [
    ['ends well', run.exitCode === 0, `exit code ${run.exitCode}`],
    ['every frame', video.packets.length === frames, `${video.packets.length} of ${frames}`],
    [
      'picture and sound end together',
      Math.abs(ends[0] - ends[1]) < 0.1,
      ends.map((end) => `${end.toFixed(2)} s`).join(', '),
    ],
    ['as long as the source', Math.abs(ends[0] - length) < 0.1, `${length.toFixed(2)} s`],
    ['memory stays', quarter > 0 && late < early + GROWTH_MIB, `${early.toFixed(0)} MiB, then ${late.toFixed(0)} MiB`],
    ['progress goes up to 100 %', grows && shares.at(-1) === 100, shares.join(' ')],
    ['with the time that is left', timed, `${progress[0]?.left ?? 'none'} at first`],
  ];
}

/** Stopped by Ctrl-C in the middle; the same result as a run that was not. */
async function checkResumed(at: (name: string) => string, frames: number): Promise<Check[]> {
  const ending = '.mp4';
  const names = [at('film.mov'), at(`resumed${ending}`), '--resume'];
  const kept = (): number => {
    const folder = readdirSync(path.dirname(at('x'))).find((name) => name.endsWith('.kept'));
    return folder === undefined
      ? 0
      : readdirSync(at(folder)).reduce((sum, name) => sum + Number(/^segment-\d+-(\d+)$/.exec(name)?.[1] ?? 0), 0);
  };
  const stopped = await upscale(names, () => kept() >= frames / 2);
  const before = kept();
  const startedAt = performance.now();
  const resumed = await upscale(names, () => false);
  const seconds = (performance.now() - startedAt) / 1000;
  const whole = await upscale([at('film.mov'), at(`whole${ending}`)], () => false);
  const same =
    existsSync(at(`resumed${ending}`)) &&
    (await digest(at(`resumed${ending}`))) === (await digest(at(`whole${ending}`)));
  const used = Number(/(\d+) of the \d+ frames were there already/.exec(resumed.words)?.[1] ?? 0);
  return [
    ['Ctrl-C ends it in order', stopped.exitCode === 130, `exit code ${stopped.exitCode}, ${before} frames kept`],
    [
      '--resume goes on from there',
      resumed.exitCode === 0 && used === before && before > 0,
      `${used} frames, then ${seconds.toFixed(0)} s`,
    ],
    [
      'the same bytes as without a stop',
      whole.exitCode === 0 && same,
      `${(statSync(at(`whole${ending}`)).size / MIB).toFixed(1)} MiB`,
    ],
    ['nothing is left behind', kept() === 0 && hidden(at).length === 0, hidden(at).join(' ') || 'nothing'],
  ];
}

/** Row T: pictures beyond level 5.2 of H264. */
async function checkLevel(at: (name: string) => string): Promise<Check[]> {
  const pattern = 'testsrc2=size=1920x1080:rate=120:duration=0.1';
  await runFfmpeg(
    '-f',
    'lavfi',
    '-i',
    pattern,
    '-c:v',
    'libx264',
    '-preset',
    'ultrafast',
    '-pix_fmt',
    'yuv420p',
    at('large.mp4'),
  );
  const run = await upscale([at('large.mp4'), at('larger.mp4')], () => false);
  const codec = run.exitCode === 0 ? videoOf((await readTracks(at('larger.mp4'))).tracks).codec : 'none';
  const said = /above level 5\.2 of H264, so the result is HEVC/.test(run.words);
  return [['3840x2160 at 120 a second becomes HEVC, with a word', codec === 'hevc' && said, codec]];
}

function videoOf(tracks: readonly FilmTrack[]): FilmTrack {
  const video = tracks.find(({ codec }) => /^(h264|hevc)$/.test(codec));
  if (video === undefined) throw new Error('There is no video.');
  return video;
}

function endOf(track: FilmTrack | undefined): number {
  return Math.max(-1, ...(track?.packets ?? []).slice(-8).map(({ start, duration }) => start + duration));
}

/** @param stop asked now and then; true: Ctrl-C */
async function upscale(args: readonly string[], stop: () => boolean): Promise<Run> {
  const flags = ['--model', 'resize', '--scale', '2', '--preset', 'ultrafast'];
  const program = ['--import', 'tsx', 'server/cli/main.ts', 'upscale', ...args, ...flags];
  const child = spawn(process.execPath, program, { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
  const memory: number[] = [];
  let words = '';
  for (const stream of [child.stdout, child.stderr])
    stream.setEncoding('utf8').on('data', (text: string) => {
      words += text;
      process.stderr.write(text);
    });
  let asked = false;
  const timer = setInterval(() => {
    memory.push(memoryMib(child));
    // Once: a second Ctrl-C does not wait for the end in order.
    if (asked || !stop()) return;
    asked = true;
    child.kill('SIGINT');
  }, SAMPLE_MS);
  const [exitCode] = (await once(child, 'close')) as [number | null];
  clearInterval(timer);
  return { exitCode, words, memory };
}

/** Linux's /proc; 0 on other systems, where the check of the memory cannot fail. */
function memoryMib({ pid }: ChildProcess): number {
  const of = (id: number): number => {
    try {
      const kib = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${id}/status`, 'utf8'))?.[1];
      const children = readFileSync(`/proc/${id}/task/${id}/children`, 'utf8').trim().split(/\s+/).filter(Boolean);
      return Number(kib ?? 0) / 1024 + children.reduce((sum, child) => sum + of(Number(child)), 0);
    } catch {
      return 0; // It has ended.
    }
  };
  return pid === undefined ? 0 : of(pid);
}

interface ProgressLine {
  readonly done: number;
  readonly share: number;
  readonly left: string | undefined;
}

/** Lines of server/cli/progress.ts into a pipe. */
function progressOf(words: string): ProgressLine[] {
  return [...words.matchAll(/^(\d+) of \d+ \((\d+) %\) frames, [\d.]+ frames\/s(?:, (.*) left)?$/gm)].map(
    ([, done, share, left]) => ({ done: Number(done), share: Number(share), left }),
  );
}

async function digest(file: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const data of createReadStream(file)) hash.update(data as Buffer);
  return hash.digest('hex');
}

const hidden = (at: (name: string) => string): string[] =>
  readdirSync(path.dirname(at('x'))).filter((name) => name.startsWith('.'));
