import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { App } from '../../server/app.ts';
import { Decoder } from '../../server/codec/decoder.ts';
import { makeNumberedVideo, readNumber, writeY4m } from '../../testing/numbered-video.ts';
import { encodeClip, type Clip } from '../../testing/clip.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { NodeViewer, type ViewedFrame } from '../../testing/peers/node-viewer.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { summarizePath, type PathResult } from './samples.ts';
import type { BroadcastStats } from '../../server/broadcast/statistics.ts';

export interface ServerSideResult {
  readonly forwarded: PathResult;
  readonly upscaled: PathResult;
  readonly stats: BroadcastStats;
}

const CLIP = new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;

/** Frames whose content carries their number, so that each can be followed through any codec and size. */
export async function numberedClip(seconds: number, framesPerSecond: number, width = 320, height = 180): Promise<Clip> {
  const folder = mkdtempSync(join(tmpdir(), 'flashvsr-bench-'));
  try {
    const file = join(folder, 'numbered.y4m');
    writeY4m(makeNumberedVideo(CLIP, width, height, seconds * framesPerSecond, framesPerSecond), file);
    return await encodeClip({ codec: 'H264', file, width, height, seconds, framesPerSecond, bitrateBps: 400_000 });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/**
 * Real WebRTC without a browser: one publisher, one viewer of both tracks. Latency runs from the hand-over of a frame's
 * last packet to the publisher's socket until its last packet reached the viewer; decoding happens after the run, to read
 * the numbers.
 */
export async function measureServerSide(
  app: App,
  clip: Clip,
  warmUpSeconds: number,
  seconds: number,
): Promise<ServerSideResult> {
  const publishing = await SignalingClient.connect(app.url);
  const watching = await SignalingClient.connect(app.url);
  const sentAtMs = new Map<number, number>();
  const received: { frame: ViewedFrame; track: 'result' | 'source' }[] = [];
  const publisher = new NodePublisher({
    clip,
    onFrameSent: (_number, _time, atMs, clipFrame) => sentAtMs.set(clipFrame, atMs),
  });
  const viewer = new NodeViewer({
    source: true,
    countOnly: true,
    onFrame: (frame, track) => received.push({ frame, track }),
  });
  let session = '';
  try {
    await viewer.start(async (offer) => (await watching.watch('bench', offer)).sdp);
    await publisher.start(async (offer) => {
      const reply = await publishing.publish('bench', offer);
      session = reply.session;
      return reply.sdp;
    });
    await viewer.waitForFrames(1);
    await new Promise((resolve) => setTimeout(resolve, warmUpSeconds * 1000));
    const fromMs = performance.now();
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    const toMs = performance.now();
    const stats = publishing.stats.get(session);
    if (stats === undefined) throw new Error('the server pushed no statistics');
    await publishing.leave(session);
    const path = (track: 'result' | 'source'): PathResult => {
      const frames = received.filter((entry) => entry.track === track).map(({ frame }) => frame);
      const l = latencies(frames, sentAtMs, fromMs, toMs).sort((a, b) => a - b); const q = (p: number) => (l[Math.floor(l.length * p)] ?? 0).toFixed(2); console.log(track, l.length, "p2", q(0.02), "p5", q(0.05), "p10", q(0.1), "p25", q(0.25), "p50", q(0.5)); return summarizePath(l, seconds);
    };
    return { forwarded: path('source'), upscaled: path('result'), stats };
  } finally {
    await publisher.stop();
    await viewer.stop();
    publishing.close();
    watching.close();
  }
}

function latencies(
  frames: readonly ViewedFrame[],
  sentAtMs: ReadonlyMap<number, number>,
  fromMs: number,
  toMs: number,
): number[] {
  const first = frames[0];
  if (first === undefined) return [];
  const decoder = new Decoder({ codec: first.codec, maxPixels: 1 << 23, threads: 2 });
  const result: number[] = [];
  for (const frame of frames) {
    if (decoder.awaitingKeyframe && !frame.keyframe) continue;
    const at = Math.round(frame.completeMs * 1000);
    const unit = { ...frame, mediaTime: frame.timestamp, receivedAtUs: at, assembledAtUs: at };
    for (const picture of decoder.decode(unit)) {
      const { y, yStride, width, height } = picture;
      const number = readNumber((left, top) => y[Math.floor(top * height) * yStride + Math.floor(left * width)] ?? 0);
      const sent = sentAtMs.get(number);
      if (sent !== undefined && frame.completeMs >= fromMs && frame.completeMs < toMs)
        result.push(frame.completeMs - sent);
      picture.release();
    }
  }
  decoder.close();
  return result;
}
