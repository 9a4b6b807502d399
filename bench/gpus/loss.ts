import { createRequire } from 'node:module';
import path from 'node:path';
import type { App } from '../../server/app.ts';
import type { Clip } from '../../testing/clip.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { NodeViewer } from '../../testing/peers/node-viewer.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';

/** One broadcast's result as its viewer saw it around the fault. */
export interface LossResult {
  readonly name: string;
  /** Longest time between two pictures within the seconds before the fault, and after it. */
  readonly gapBeforeMs: number;
  readonly gapAfterMs: number;
  /** Pictures missing between the first and the last after the fault, by their media times. */
  readonly lostAfter: number;
  readonly framesAfter: number;
}

interface Seen {
  readonly atMs: number;
  readonly timestamp: number;
}

interface Running {
  readonly name: string;
  readonly seen: Seen[];
  stop(): Promise<void>;
}

/** The addon of fault.cu. */
interface Fault {
  fail(device: number): void;
}

/**
 * Live broadcasts on several GPUs, of which one fails in the middle.
 *
 * @param device the GPU that fails, as CUDA counts; its context in this process is gone afterwards
 */
export async function measureLoss(
  app: App,
  clip: Clip,
  { streams, seconds, device, library }: { streams: number; seconds: number; device: number; library: string },
): Promise<LossResult[]> {
  const fault = createRequire(import.meta.url)(path.resolve(library)) as Fault;
  const running: Running[] = [];
  try {
    // One after the other: the pool puts each on the engine with the fewest.
    for (let index = 0; index < streams; index += 1) running.push(await startOne(app, clip, `stream ${index + 1}`));
    await sleep(seconds * 1000);
    const faultAtMs = performance.now();
    fault.fail(device);
    await sleep(seconds * 1000);
    return running.map(({ name, seen }) => summarize(name, seen, faultAtMs, clip.framesPerSecond));
  } finally {
    for (const one of running) await one.stop();
  }
}

async function startOne(app: App, clip: Clip, label: string): Promise<Running> {
  const name = label.replace(' ', '-');
  const [publishing, watching] = [await SignalingClient.connect(app.url), await SignalingClient.connect(app.url)];
  const seen: Seen[] = [];
  const publisher = new NodePublisher({ clip });
  const onFrame = ({ completeMs, timestamp }: { completeMs: number; timestamp: number }): void =>
    void seen.push({ atMs: completeMs, timestamp });
  const viewer = new NodeViewer({ countOnly: true, onFrame });
  await viewer.start(async (offer) => (await watching.watch(name, offer)).sdp);
  await publisher.start(async (offer) => (await publishing.publish(name, offer)).sdp);
  await viewer.waitForFrames(1, 60_000);
  return {
    name: label,
    seen,
    stop: async () => {
      await publisher.stop();
      await viewer.stop();
      publishing.close();
      watching.close();
    },
  };
}

function summarize(name: string, seen: readonly Seen[], faultAtMs: number, framesPerSecond: number): LossResult {
  const gap = (frames: readonly Seen[]): number =>
    Math.max(0, ...frames.slice(1).map(({ atMs }, index) => atMs - (frames[index]?.atMs ?? atMs)));
  const firstAfter = seen.findIndex(({ atMs }) => atMs > faultAtMs);
  // The last picture before the fault belongs to the gap that it made.
  const after = firstAfter < 0 ? seen.slice(-1) : seen.slice(Math.max(0, firstAfter - 1));
  const before = seen.slice(0, Math.max(0, firstAfter)).filter(({ atMs }) => atMs > faultAtMs - 4000);
  const ticks = 90_000 / framesPerSecond;
  const span = ((after.at(-1)?.timestamp ?? 0) - (after[0]?.timestamp ?? 0)) / ticks;
  return {
    name,
    gapBeforeMs: Math.round(gap(before)),
    gapAfterMs: Math.round(gap(after)),
    lostAfter: Math.round(span) - (after.length - 1),
    framesAfter: after.length - 1,
  };
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
