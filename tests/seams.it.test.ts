import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { startApp, type App } from '../server/app.ts';
import type { Broadcast } from '../server/broadcast/broadcast.ts';
import { VideoReader } from '../server/codec/video-reader.ts';
import { loadConfig } from '../server/config/config.ts';
import { createLog } from '../server/log.ts';
import { splitAnnexB } from '../server/media/h264.ts';
import { FileSource } from '../testing/file-source.ts';
import { FrameRecorder, type FrameRecorderOptions } from '../testing/frame-recorder.ts';
import { NodeViewer } from '../testing/peers/node-viewer.ts';
import { SignalingClient } from '../testing/peers/signaling-client.ts';
import { until } from '../testing/until.ts';

/** Sources and subscribers that are no WebRTC peers, against the whole server: the domain takes them as it takes peers. */
const CLIP = new URL('../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;

let app: App;
let folder: string;
const cleanup: (() => unknown)[] = [];

beforeEach(async () => {
  const config = loadConfig({ argv: ['--port', '0', '--model', 'resize', '--log-level', 'silent'] });
  app = await startApp(config, createLog(config.log));
  folder = await mkdtemp(join(tmpdir(), 'seams-'));
});
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
  await app.close();
  await rm(folder, { recursive: true });
});

/** A broadcast fed from the clip. */
async function play(name: string, loop = true): Promise<{ broadcast: Broadcast; source: FileSource }> {
  return await app.registry.using(name, async (broadcast) => {
    const claim = broadcast.claim({ token: undefined, kind: 'issued' }, 'local');
    const source = new FileSource({ id: `file of ${name}`, file: CLIP, loop });
    claim.attach(source);
    claim.release();
    cleanup.push(() => broadcast.detach(source, 'request'));
    return await Promise.resolve({ broadcast, source });
  });
}

async function record(broadcast: Broadcast, options: Omit<FrameRecorderOptions, 'id'>): Promise<FrameRecorder> {
  const recorder = broadcast.subscribe(
    (subscription) => new FrameRecorder({ id: 'recorder', ...options }, subscription),
  );
  await recorder.start();
  return recorder;
}

async function decodable(file: string): Promise<{ width: number; height: number; pictures: number; damaged: number }> {
  const reader = await VideoReader.open(file, 1);
  let pictures = 0;
  try {
    for await (const item of reader.read()) {
      if (item.type !== 'picture') continue;
      pictures += 1;
      item.picture.release();
    }
    return { width: reader.info.width, height: reader.info.height, pictures, damaged: reader.damagedPackets };
  } finally {
    await reader.close();
  }
}

it('a file is a source: a WebRTC viewer gets its pictures, upscaled', async () => {
  const { source } = await play('file');
  const signaling = await SignalingClient.connect(app.url);
  const viewer = new NodeViewer({ codecs: ['H264'] });
  cleanup.push(
    () => viewer.stop(),
    () => signaling.close(),
  );
  await viewer.start(async (offer) => (await signaling.watch('file', offer)).sdp);
  await viewer.waitForFrames(40);
  expect(viewer.frames[0]).toMatchObject({ keyframe: true, codec: 'H264' });
  await until(() => app.registry.get('file')?.stats?.output.width === 1280, 'statistics');
  expect(app.registry.list().broadcasts).toMatchObject([
    { name: 'file', state: 'live', sourceWidth: 320, outputWidth: 1280, outputHeight: 720, viewers: 1 },
  ]);
  expect(source.states).toEqual(['waiting', 'live']);
  expect(viewer.getStats().packetsLost).toBe(0);
});

it('a recorder is a subscriber: its file holds every frame from a keyframe on and can be decoded again', async () => {
  const { broadcast } = await play('recorded');
  const file = join(folder, 'recorded.h264');
  const recorder = await record(broadcast, { file });
  await until(() => recorder.framesWritten >= 30, 'a second of frames');
  // It counts as a subscriber, not as a viewer.
  expect(broadcast.viewerCount).toBe(0);
  await broadcast.unsubscribe('recorder');
  expect(recorder.framesDropped).toBe(0);
  const [first] = splitAnnexB(await readFile(file));
  expect((first?.[0] ?? 0) & 0x1f, 'a sequence parameter set').toBe(7);
  expect(await decodable(file)).toEqual({ width: 1280, height: 720, pictures: recorder.framesWritten, damaged: 0 });
});

it('a recorder on a slow disk drops by name, within its bound, and goes on from a keyframe', async () => {
  const { broadcast } = await play('slow');
  const file = join(folder, 'slow.h264');
  let slow = true;
  const beforeWrite = () => new Promise<void>((resolve) => setTimeout(resolve, slow ? 100 : 0));
  const recorder = await record(broadcast, { file, queue: { maxFrames: 5 }, beforeWrite });
  await until(() => recorder.framesDropped >= 2, 'drops');
  slow = false;
  const before = recorder.framesWritten;
  await until(() => recorder.framesWritten > before + 30, 'frames after them');
  await broadcast.unsubscribe('recorder');
  expect(await app.metrics.text()).toMatch(/flashvsr_frames_dropped_total\{reason="egress-slow"\} \d+/);
  // What is missing is missing between whole groups of pictures: nothing in the file refers to it.
  expect(await decodable(file)).toMatchObject({ pictures: recorder.framesWritten, damaged: 0 });
});

it('a source that ends by itself leaves the name reserved, and its return goes on for the subscribers', async () => {
  const first = await play('again', false);
  const recorder = await record(first.broadcast, { file: join(folder, 'again.h264') });
  await until(() => first.source.states.includes('ended'), 'the end of the file');
  expect(app.registry.list().broadcasts).toMatchObject([{ name: 'again', state: 'waiting' }]);
  expect(() => first.broadcast.claim({ token: undefined, kind: 'issued' }, 'local')).toThrow(
    'belongs to another publisher',
  );
  expect(recorder.states).toEqual(['live', 'waiting']);
});
