import { spawn, type ChildProcess } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { createServer } from 'node:http';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { FormatContext, Packet } from 'node-av/lib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { runFfmpeg } from '../../../testing/film.ts';
import { adtsFrames, timestampTag } from '../../../testing/packed-aac.ts';
import { PULL_CLIP, makePullClip } from '../../../testing/pull-clip.ts';
import type { NumberedVideo } from '../../../testing/numbered-video.ts';
import { RtspServer } from '../../../testing/rtsp-server.ts';
import { until } from '../../../testing/until.ts';
import { Pulled, jobFor, picturesOf, psnr } from './pulled.ts';

/** Sources of every kind through the real process: order, times, sound. */

let folder: string;
let clip: string;
let numbered: NumberedVideo;
const cleanup: (() => unknown)[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pull-'));
  ({ file: clip, video: numbered } = await makePullClip(folder));
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

function pull(...args: ConstructorParameters<typeof Pulled>): Pulled {
  const pulled = new Pulled(...args);
  cleanup.push(() => pulled.process.close());
  return pulled;
}

async function delivered(pulled: Pulled, frames: number): Promise<void> {
  await until(
    () => pulled.video.length >= frames || pulled.ended !== undefined,
    () => `${frames} pictures, there are ${pulled.video.length}`,
  );
  expect(pulled.ended?.error?.message).toBeUndefined();
}

function encoder(...args: string[]): ChildProcess {
  const child = spawn(ffmpeg.path, ['-v', 'error', '-nostdin', ...args], { stdio: 'ignore' });
  cleanup.push(
    () =>
      new Promise<void>((resolve) => {
        if (child.exitCode !== null || child.signalCode !== null) return resolve();
        child.once('exit', () => resolve());
        child.kill('SIGKILL');
      }),
  );
  return child;
}

/** Pictures in presentation order: none repeated, none skipped unless packets may be lost, each the one that was sent. */
function expectInOrder(pulled: Pulled, mayLose = false): void {
  const seen = picturesOf(pulled.video);
  const { frames, width, height } = PULL_CLIP;
  const steps = seen.slice(1).map(({ number }, index) => (number - (seen[index]?.number ?? 0) + frames) % frames);
  expect(steps.length).toBeGreaterThan(mayLose ? 1 : 10);
  if (mayLose) expect(steps.filter((step) => step < 1 || step > frames / 2)).toEqual([]);
  else expect(new Set(steps)).toEqual(new Set([1]));
  const quality = seen.map(({ number, luma }) =>
    psnr(luma, (numbered.frames[number] ?? luma).subarray(0, width * height)),
  );
  expect(Math.min(...(mayLose ? quality.slice(0, 1) : quality))).toBeGreaterThan(30);
}

/** Opus of 20 ms without a gap, and within a video frame or two of the pictures. */
function expectSound(pulled: Pulled): void {
  const steps = pulled.audio.slice(1).map(({ timestamp }, index) => timestamp - (pulled.audio[index]?.timestamp ?? 0));
  expect(new Set(steps)).toEqual(new Set([960]));
  const ends = [(pulled.audio.at(-1)?.timestamp ?? 0) / 48_000, (pulled.video.at(-1)?.timestamp ?? 0) / 90_000];
  expect(Math.abs((ends[0] ?? 0) - (ends[1] ?? 0))).toBeLessThan(0.5);
}

describe('a file', () => {
  it('plays in a loop: pictures in order, and times that go on over the joint', async () => {
    const beganMs = performance.now();
    const pulled = pull(jobFor(pathToFileURL(clip).href));
    await delivered(pulled, PULL_CLIP.frames + 10);
    // By the wall clock: no picture before its time.
    expect(performance.now() - beganMs).toBeGreaterThan((PULL_CLIP.frames + 5) * 40);
    expect(pulled.opened).toMatchObject({ hasAudio: true, notices: [] });
    expectInOrder(pulled);
    const seen = picturesOf(pulled.video);
    const joint = seen.findIndex(({ number }, index) => index > 0 && number === 0);
    expect(joint).toBeGreaterThan(0);
    for (const [index, { seconds }] of seen.slice(1).entries()) {
      const step = seconds - (seen[index]?.seconds ?? 0);
      // At the joint the sound's last packet may end behind the last picture.
      expect(step).toBeGreaterThan(0.039);
      expect(step).toBeLessThan(index + 1 === joint ? 0.12 : 0.041);
    }
    const sound = pulled.audio
      .slice(1)
      .map(({ timestamp }, index) => timestamp - (pulled.audio[index]?.timestamp ?? 0));
    expect(Math.min(...sound)).toBeGreaterThan(0);
    expect(Math.max(...sound)).toBeLessThan(48_000 * 0.15);
  });
});

describe('video that the pipeline does not decode', () => {
  it('(HEVC) comes as H264, in presentation order', async () => {
    const file = join(folder, 'hevc.mp4');
    await runFfmpeg('-i', clip, '-c:v', 'libx265', '-x265-params', 'log-level=none:bframes=2', '-c:a', 'copy', file);
    const pulled = pull(jobFor(pathToFileURL(file).href));
    // Over the joint of the loop: the decoder's last pictures, which it holds back for their order, are there.
    await delivered(pulled, PULL_CLIP.frames + 10);
    expect(new Set(pulled.video.map(({ codec: sent }) => sent))).toEqual(new Set(['H264']));
    const times = pulled.video.map(({ timestamp }) => timestamp);
    const steps = times.slice(1).map((time, index) => time - (times[index] ?? 0));
    steps.splice(PULL_CLIP.frames - 1, 1);
    expect(new Set(steps)).toEqual(new Set([3600]));
    expectInOrder(pulled);
  });
});

describe('RTSP', () => {
  it.each(['tcp', 'udp'] as const)('over %s, with a password', async (transport) => {
    const server = await RtspServer.open('user:pass');
    cleanup.push(() => server.close());
    const target = `rtsp://127.0.0.1:${server.port}/cam`;
    encoder('-re', '-stream_loop', '-1', '-i', clip, '-c', 'copy', '-f', 'rtsp', '-rtsp_transport', 'tcp', target);
    await until(() => server.announced, 'the announcement');
    const pulled = pull(jobFor(`rtsp://user:pass@127.0.0.1:${server.port}/cam`, { transport }));
    await delivered(pulled, 30);
    expect(server.authorizations).toContain('Basic dXNlcjpwYXNz');
    // Datagrams are lost where the machine is busy.
    expectInOrder(pulled, transport === 'udp');
    if (transport === 'udp') expect(pulled.audio.length).toBeGreaterThan(10);
    else expectSound(pulled);
  });
});

describe('SRT', () => {
  it('from a listener, encrypted', async () => {
    const port = await freeUdpPort();
    const serving = serveSrt(`srt://127.0.0.1:${port}?mode=listener&passphrase=secretsecret`);
    cleanup.push(() => serving);
    const pulled = pull(jobFor(`srt://127.0.0.1:${port}?passphrase=secretsecret&streamid=#!::r=cam`));
    await delivered(pulled, 30);
    // What comes later than the latency is given up by SRT.
    expectInOrder(pulled, true);
    expect(pulled.audio.length).toBeGreaterThan(10);
  });
});

describe('HLS', () => {
  it('of MPEG-TS with AAC, behind a redirect, live and then ended', async () => {
    await runFfmpeg(
      '-i',
      clip,
      '-c',
      'copy',
      '-f',
      'hls',
      '-hls_time',
      '0.4',
      '-hls_list_size',
      '0',
      join(folder, 'ts.m3u8'),
    );
    const lines = (await readFile(join(folder, 'ts.m3u8'), 'utf8'))
      .replace('#EXT-X-ENDLIST\n', '')
      .split(/(?=#EXTINF)/);
    // A new segment with every reload.
    let known = 2;
    const base = await serveHttp((path) => {
      if (path === '/live') return { status: 302, location: '/hls/ts.m3u8' };
      if (!path.endsWith('.m3u8')) return { file: path.replace('/hls/', '') };
      known = Math.min(lines.length, known + 1);
      return { body: `${lines.slice(0, known).join('')}${known === lines.length ? '#EXT-X-ENDLIST\n' : ''}` };
    });
    const pulled = pull(jobFor(`${base}/live`));
    const { error } = await until(() => pulled.ended, 'the end of the playlist');
    expect(error).toBeUndefined();
    expectInOrder(pulled);
    expectSound(pulled);
  });

  it('of fragmented MP4 with sound of its own and keys: the rendition that the server takes', async () => {
    const hls = (name: string, ...args: string[]) =>
      runFfmpeg(
        '-i',
        clip,
        '-c',
        'copy',
        ...args,
        '-f',
        'hls',
        '-hls_time',
        '1',
        '-hls_list_size',
        '0',
        '-hls_playlist_type',
        'vod',
        join(folder, name),
      );
    const fmp4 = (init: string) => ['-hls_segment_type', 'fmp4', '-hls_fmp4_init_filename', init];
    await hls('sound.m3u8', '-vn', ...fmp4('sound-init.mp4'));
    await writeFile(join(folder, 'key'), Buffer.alloc(16, 7));
    await writeFile(join(folder, 'keyinfo'), `key\n${join(folder, 'key')}\n`);
    // Both on one clock: FFmpeg's MPEG-TS begins 1.4 s late by itself.
    await hls('video.m3u8', '-an', '-muxdelay', '0', '-hls_key_info_file', join(folder, 'keyinfo'));
    const main = [
      '#EXTM3U',
      '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="tone",DEFAULT=YES,URI="sound.m3u8"',
      '#EXT-X-STREAM-INF:BANDWIDTH=9000000,RESOLUTION=7680x4320,AUDIO="a"\nnone.m3u8',
      '#EXT-X-STREAM-INF:BANDWIDTH=600000,RESOLUTION=256x144,AUDIO="a"\nvideo.m3u8\n',
    ];
    const base = await serveHttp((path) =>
      path === '/main.m3u8' ? { body: main.join('\n') } : { file: path.slice(1) },
    );
    const pulled = pull(jobFor(`${base}/main.m3u8`));
    const { error } = await until(() => pulled.ended, 'the end of the playlist');
    expect(error).toBeUndefined();
    expect(pulled.opened).toMatchObject({ hasAudio: true, notices: [] });
    expectInOrder(pulled);
    expectSound(pulled);
  });

  it('of MPEG-TS with sound in packed AAC: each segment at the time of its tag', async () => {
    const sound = join(folder, 'sound.aac');
    await runFfmpeg('-i', clip, '-vn', '-c', 'copy', '-f', 'adts', sound);
    const vod = ['-f', 'hls', '-hls_time', '1', '-hls_list_size', '0', '-hls_playlist_type', 'vod'];
    // Times that begin again within the clip: 33 bits of 1/90000 s, a second after the start.
    const begin = 2 ** 33 - 90_000;
    const offset = ['-muxdelay', '0', '-output_ts_offset', String(begin / 90_000)];
    await runFfmpeg('-i', clip, '-c', 'copy', '-an', ...offset, ...vod, join(folder, 'pictures.m3u8'));
    const frames = adtsFrames(await readFile(sound));
    const playlist = ['#EXTM3U', '#EXT-X-TARGETDURATION:1'];
    // The sound begins later than the pictures, which nothing but its tags says.
    for (let first = 60; first < frames.length; first += 20) {
      const ticks = begin + Math.round((first * 1024 * 90_000) / 44_100);
      const name = `sound-${first}.aac`;
      const tag = timestampTag(BigInt(ticks % 2 ** 33));
      await writeFile(join(folder, name), Buffer.concat([tag, ...frames.slice(first, first + 20)]));
      playlist.push('#EXTINF:0.464,', name);
    }
    const main = [
      '#EXTM3U',
      '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="tone",DEFAULT=YES,URI="packed.m3u8"',
      '#EXT-X-STREAM-INF:BANDWIDTH=600000,RESOLUTION=256x144,AUDIO="a"\npictures.m3u8\n',
    ];
    const base = await serveHttp((path) => {
      if (path === '/main.m3u8') return { body: main.join('\n') };
      if (path === '/packed.m3u8') return { body: [...playlist, '#EXT-X-ENDLIST\n'].join('\n') };
      return { file: path.slice(1) };
    });
    const pulled = pull(jobFor(`${base}/main.m3u8`));
    const { error } = await until(() => pulled.ended, 'the end of the playlist');
    expect(error).toBeUndefined();
    expect(pulled.opened).toMatchObject({ hasAudio: true, notices: [] });
    expectInOrder(pulled);
    expectSound(pulled);
    const late = (pulled.audio[0]?.timestamp ?? 0) / 48_000 - (pulled.video[0]?.timestamp ?? 0) / 90_000;
    expect(late).toBeCloseTo((60 * 1024) / 44_100, 1);
  });
});

/** Answers of an HTTP server on loopback; files lie in the test's folder. @returns its address */
async function serveHttp(
  answer: (path: string) => { status?: number; location?: string; body?: string; file?: string },
): Promise<string> {
  const server = createServer((request, response) => {
    const { status = 200, location, body, file } = answer(request.url ?? '');
    response.writeHead(status, location === undefined ? {} : { location });
    if (file === undefined) response.end(body);
    else
      readFile(join(folder, file)).then(
        (data) => response.end(data),
        () => response.destroy(),
      );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  cleanup.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function freeUdpPort(): Promise<number> {
  const socket = createSocket('udp4');
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
  const { port } = socket.address();
  await new Promise<void>((resolve) => socket.close(() => resolve()));
  return port;
}

/** The clip once, at its pace, to the one caller that comes. */
async function serveSrt(url: string): Promise<void> {
  const [input, output] = [new FormatContext(), new FormatContext()];
  await input.openInput(clip, null, null);
  output.allocOutputContext2(null, 'mpegts', url);
  for (const { codecpar, timeBase } of input.streams) {
    const stream = output.newStream();
    codecpar.copy(stream.codecpar);
    stream.codecpar.codecTag = 0;
    stream.timeBase = timeBase;
  }
  if ((await output.openOutput()) < 0 || (await output.writeHeader()) < 0) throw new Error('SRT does not listen');
  const beganMs = performance.now();
  const packet = new Packet();
  packet.alloc();
  while ((await input.readFrame(packet)) >= 0) {
    const [from, to] = [input.streams[packet.streamIndex], output.streams[packet.streamIndex]];
    if (from === undefined || to === undefined) continue;
    const dueMs = beganMs + (Number(packet.dts) * from.timeBase.num * 1000) / from.timeBase.den;
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
    packet.rescaleTs(from.timeBase, to.timeBase);
    if ((await output.interleavedWriteFrame(packet)) < 0) break;
  }
  packet.free();
  await output.closeOutput();
  await input.closeInput();
}
