import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { AV_CODEC_ID_NONE } from 'node-av/constants';
import { FormatContext, Packet, avGetCodecName } from 'node-av/lib';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { readFilm } from '../../../testing/film.ts';
import { LEFT_HZ, RIGHT_HZ, opusTone, readSound } from '../../../testing/opus-tone.ts';
import { makeStream } from '../../../testing/pictures.ts';
import { RtmpConnectServer } from '../../../testing/rtmp-connect.ts';
import { until } from '../../../testing/until.ts';
import { TargetPolicy } from '../../access/target-policy.ts';
import type { Subscription } from '../../broadcast/subscriber.ts';
import { loadConfig } from '../../config/config.ts';
import { AppError } from '../../errors.ts';
import { newTrace } from '../../media/steps.ts';
import type { AccessUnit } from '../../media/types.ts';
import type { OutputRun } from '../output-kind.ts';
import { StreamPushKind, type StreamConfig } from '../stream-push.ts';

/** Three seconds of a broadcast to servers that other programs are: FFmpeg listening for RTMP and RTSP, libsrt. */
const FIRST = 9_000_000;
let folder: string;
let pictures: AccessUnit[];
let sound: Uint8Array[];
const cleanup: (() => unknown)[] = [];

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'push-'));
  pictures = makeStream({ codec: 'H264', width: 160, height: 96, frames: 90, firstMediaTime: FIRST });
  sound = opusTone(150);
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}

function config(type: StreamConfig['type'], url: string, more: object = {}): StreamConfig {
  const outputs = JSON.stringify([{ name: 'relay', broadcast: 'stage', type, url, ...more }]);
  const [output] = loadConfig({ argv: ['--outputs', outputs] }).outputs;
  return output as StreamConfig;
}

interface Pushed {
  readonly run: OutputRun;
  readonly failed: AppError[];
  readonly running: () => boolean;
}

/** A run that is fed at once: all pictures and sound fit into its queue. */
function push(output: StreamConfig, allow: readonly string[] = ['127.0.0.1']): Pushed {
  const failed: AppError[] = [];
  let running = false;
  const made: { run?: OutputRun } = {};
  const feed = (): void => {
    const items = [
      ...pictures.map((unit) => ({ at: unit.mediaTime, unit, packet: undefined })),
      ...sound.map((packet, index) => ({ at: FIRST + index * 1800, unit: undefined, packet })),
    ].sort((a, b) => a.at - b.at);
    for (const { at, unit, packet } of items) {
      const common = { stream: 1, marker: true, sequence: 1, timestamp: 0, mediaTime: at, receivedAtUs: 0 };
      if (packet !== undefined) made.run?.onAudio({ ...common, payload: packet });
      else if (unit !== undefined) {
        const { data, keyframe, mediaTime } = unit;
        const size = { width: 160, height: 96, trace: newTrace(0, 0) };
        made.run?.onResult({ codec: 'H264', rendition: 'full', data, keyframe, mediaTime, ...size });
      }
    }
  };
  const subscription: Subscription = {
    started: feed,
    interrupted: () => undefined,
    requestKeyframe: () => undefined,
    dropped: () => undefined,
    ended: () => undefined,
  };
  const run = new StreamPushKind(new TargetPolicy({ allow })).open({
    ...{ id: 'run', output, broadcast: 'stage', subscription },
    events: { running: () => (running = true), failed: (error) => failed.push(error) },
  });
  made.run = run;
  cleanup.push(() => run.close());
  return { run, failed, running: () => running };
}

/** The other side may not listen yet: then the service would try again, and so does this. */
async function pushUntilTaken(output: StreamConfig): Promise<OutputRun> {
  return await until(async () => {
    const { run, failed, running } = push(output);
    await until(() => running() || failed.length > 0, 'an answer');
    if (running()) return run;
    await run.close();
    return undefined;
  }, 'the other side');
}

/** FFmpeg (of 2018) as a server that writes what it gets. */
function listenWithFfmpeg(url: string, before: readonly string[], file: string): Promise<number | null> {
  const args = ['-v', 'error', '-nostdin', '-y', ...before, '-i', url, '-c', 'copy', file];
  const child: ChildProcess = spawn(ffmpeg.path, args, { stdio: 'ignore' });
  cleanup.push(() => child.kill('SIGKILL'));
  return new Promise((resolve) => child.once('exit', resolve));
}

describe('a server takes', () => {
  it.each([
    ['rtmp', ['-listen', '1'], 'aac', 0],
    // Its first packets come before the report that says their time (RFC 3550 section 6.4.1).
    ['rtsp', ['-rtsp_flags', 'listen'], 'opus', 10],
  ] as const)('%s: every picture in order, both channels', async (type, listen, codec, from) => {
    const url = `${type}://127.0.0.1:${await freePort()}/live/key`;
    const file = join(folder, `${type}.mkv`);
    const received = listenWithFfmpeg(url, listen, file);
    const run = await pushUntilTaken(config(type, url));
    // close() leaves behind what is not sent within a second.
    await until(() => run.progress.frames === 90, 'the last picture');
    await run.close();
    expect(run.progress).toMatchObject({ frames: 90, dropped: 0, target: url.replace('/live/key', '') });
    expect(await received).toBe(0);
    const film = await readFilm(file);
    expect(film.video.codec).toBe('h264');
    expect(film.times).toHaveLength(90);
    film.times.slice(from).forEach((time, index) => expect(time).toBeCloseTo((from + index) / 30, 2));
    expect(film.audio[0]?.codec).toContain(codec);
    const heard = readSound(file);
    expect(heard.level('left', LEFT_HZ)).toBeGreaterThan(0.3);
    expect(heard.level('right', RIGHT_HZ)).toBeGreaterThan(0.3);
    expect(heard.level('left', RIGHT_HZ)).toBeLessThan(0.02);
  });

  it('SRT: every picture, with sound, in a transport stream', async () => {
    const port = await freePort();
    const input = new FormatContext();
    // SRT's live mode drops what is later than its latency (draft-sharabayko-srt-01 section 4.6): 90 pictures at once on a busy machine are.
    const opened = input.openInput(`srt://127.0.0.1:${port}?mode=listener&tlpktdrop=0&timeout=20000000`);
    const run = await pushUntilTaken(config('srt', `srt://127.0.0.1:${port}?streamid=publish:stage`));
    expect(await opened).toBe(0);
    const counts = new Map<string, number>();
    const packet = new Packet();
    packet.alloc();
    await until(() => run.progress.frames === 90, 'the last picture');
    const closed = run.close();
    while ((await input.readFrame(packet)) >= 0) {
      const codec = avGetCodecName(input.streams[packet.streamIndex]?.codecpar.codecId ?? AV_CODEC_ID_NONE) ?? '';
      counts.set(codec, (counts.get(codec) ?? 0) + 1);
      packet.unref();
    }
    await closed;
    packet.free();
    await input.closeInput();
    expect(counts.get('h264')).toBe(90);
    expect(counts.get('aac')).toBeGreaterThan(130);
  });
});

it('RTMP: tcUrl names the application that libavformat sends, of one part and of two', async () => {
  const server = await RtmpConnectServer.start();
  cleanup.push(() => server.close());
  const address = `rtmp://127.0.0.1:${server.port}`;
  for (const path of ['live/key', 'app/instance/key/part']) push(config('rtmp', `${address}/${path}`));
  await until(() => server.connects.length === 2, 'both connections');
  expect(server.connects.map(({ app }) => app).sort()).toEqual(['app/instance', 'live']);
  for (const { app, tcUrl } of server.connects) expect(tcUrl).toBe(`${address}/${app}`);
});

describe('what goes wrong is one error that names the target without its key', () => {
  it('a private address that is not allowed: nothing is connected', async () => {
    const { failed } = push(config('rtmp', 'rtmp://user:password@127.0.0.1:1935/live/key'), []);
    await until(() => failed.length > 0, 'the refusal');
    expect(failed).toMatchObject([{ code: 'target.refused' }]);
    expect(failed[0]?.message).not.toMatch(/key|password/);
  });

  it('nothing listens there', async () => {
    const port = await freePort();
    const { failed } = push(config('rtmp', `rtmp://127.0.0.1:${port}/live/key`));
    await until(() => failed.length > 0, 'the failure');
    expect(failed).toMatchObject([{ code: 'output.target' }]);
    expect(failed[0]?.message).toContain(`rtmp://127.0.0.1:${port} cannot be reached`);
    expect(failed[0]?.message).not.toContain('key');
  });

  it('it answers garbage, or hangs up', async () => {
    const server = createServer((socket) =>
      socket.on('error', () => undefined).end('HTTP/1.1 400 Bad Request\r\n\r\n'),
    );
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    cleanup.push(() => server.close());
    const { port } = server.address() as AddressInfo;
    const pushed = (['rtmp', 'rtsp'] as const).map((type) =>
      push(config(type, `${type}://127.0.0.1:${port}/live/key`)),
    );
    for (const { failed } of pushed) {
      await until(() => failed.length > 0, 'the failure');
      expect(failed).toMatchObject([{ code: 'output.target' }]);
    }
  });

  it('an SRT address that would listen is refused before anything opens', () => {
    const kind = new StreamPushKind(new TargetPolicy({ allow: [] }));
    expect(() => kind.prepare(config('srt', 'srt://203.0.113.5:9000?mode=listener'))).toThrow('mode=listener');
  });
});
