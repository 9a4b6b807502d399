import { readFileSync } from 'node:fs';
import type { App } from '../../server/app.ts';
import { TIMED_STEPS, type TimedStep } from '../../server/media/steps.ts';
import { quantile } from '../../server/media/quantile.ts';
import { splitAccessUnits, type Clip } from '../../testing/clip.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { NodeViewer } from '../../testing/peers/node-viewer.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { printTable } from '../table.ts';
import { round } from './samples.ts';
import type { BroadcastStats } from '../../server/broadcast/statistics.ts';

export interface StatisticsResult {
  readonly framesSent: number;
  readonly framesSeen: number;
  readonly fpsIn: number;
  readonly fpsOut: number;
  readonly firstPictureMs: number;
  /** Medians over the run of the p50 and p95 of every second, complete frame in -> first packet out. */
  readonly addedLatencyMs: { readonly p50: number; readonly p95: number };
  /** The same of every step on the way: where the delay goes. */
  readonly steps: Readonly<Record<TimedStep, { readonly p50: number; readonly p95: number }>>;
  /** Every second from the first picture on, warm-up included: how the delay was found. */
  readonly bySecond: readonly SecondResult[];
  /** While measured: pictures that left more than 15 ms late, and pictures dropped, by reason. */
  readonly framesLate: number;
  readonly drops: Readonly<Record<string, number>>;
  readonly load: number;
  readonly last: BroadcastStats;
}

export interface SecondResult {
  readonly addedP50Ms: number;
  readonly addedP95Ms: number;
  readonly paceDelayMs: number;
  readonly framesLate: number;
  readonly load: number;
  readonly rung: string;
  readonly drops: Readonly<Record<string, number>>;
}

/** An H264 Annex B file with access unit delimiters, made beforehand: for machines without an encoder. */
export function clipFromFile(file: string, framesPerSecond = 30): Clip {
  return { codec: 'H264', framesPerSecond, frames: splitAccessUnits(readFileSync(file)) };
}

/** Several broadcasts at once, each with one viewer; for models whose output cannot be read back (random weights). */
export async function measureByStatistics(
  app: App,
  clip: Clip,
  streams: number,
  warmUpSeconds: number,
  seconds: number,
): Promise<StatisticsResult[]> {
  return Promise.all(
    Array.from({ length: streams }, (_, index) =>
      measureOne(app, clip, `live-${streams}-${index + 1}`, warmUpSeconds, seconds),
    ),
  );
}

/** What came out, where the delay went, how it was found. */
export function printStatistics(title: string, results: readonly StatisticsResult[]): void {
  const table = (name: string, header: readonly string[], row: (result: StatisticsResult) => readonly string[]): void =>
    printTable(name, [['stream', ...header], ...results.map((result, index) => [`${index + 1}`, ...row(result)])]);
  table(
    title,
    ['size', 'fps in', 'fps out', 'added p50 / p95', 'first picture', 'load', 'drops', 'late', 'rung'],
    ({ fpsIn, fpsOut, firstPictureMs, addedLatencyMs, load, last, drops, framesLate }) => [
      `${last.source.width}x${last.source.height} -> ${last.output.width}x${last.output.height}`,
      fpsIn.toFixed(1),
      fpsOut.toFixed(1),
      `${addedLatencyMs.p50.toFixed(0)} / ${addedLatencyMs.p95.toFixed(0)} ms`,
      `${firstPictureMs} ms`,
      `${(load * 100).toFixed(0)} %`,
      JSON.stringify(drops),
      String(framesLate),
      last.model.rungLabel,
    ],
  );
  table(
    'where the delay goes, ms p50 / p95 (upscale: gathering a chunk and its look-ahead, waiting, work)',
    TIMED_STEPS,
    ({ steps }) => TIMED_STEPS.map((step) => `${steps[step].p50.toFixed(1)} / ${steps[step].p95.toFixed(1)}`),
  );
  table('pace delay (ms) by second, warm-up included', ['delay'], ({ bySecond }) => [
    bySecond.map(({ paceDelayMs }) => paceDelayMs.toFixed(0)).join(' '),
  ]);
}

async function measureOne(
  app: App,
  clip: Clip,
  name: string,
  warmUpSeconds: number,
  seconds: number,
): Promise<StatisticsResult> {
  const publishing = await SignalingClient.connect(app.url);
  const watching = await SignalingClient.connect(app.url);
  const publisher = new NodePublisher({ clip, audio: true });
  const viewer = new NodeViewer({ countOnly: true, audio: true });
  let session = '';
  try {
    await viewer.start(async (offer) => (await watching.watch(name, offer)).sdp);
    const startedAtMs = performance.now();
    await publisher.start(async (offer) => {
      const reply = await publishing.publish(name, offer);
      session = reply.session;
      return reply.sdp;
    });
    await viewer.waitForFrames(1, 60_000);
    const firstPictureMs = performance.now() - startedAtMs;
    const history: BroadcastStats[] = [];
    const watch = async (count: number): Promise<void> => {
      for (let second = 0; second < count; second += 1) {
        await sleep(1000);
        const stats = publishing.stats.get(session);
        if (stats !== undefined) history.push(stats);
      }
    };
    await watch(warmUpSeconds);
    const warm = history.length;
    const before = { sent: publisher.getStats().framesSent, seen: viewer.getStats().frames, atMs: performance.now() };
    await watch(seconds);
    const elapsed = (performance.now() - before.atMs) / 1000;
    const last = history.at(-1);
    if (last === undefined) throw new Error('the server pushed no statistics');
    const sent = publisher.getStats().framesSent - before.sent;
    const seen = viewer.getStats().frames - before.seen;
    await publishing.leave(session);
    const measured = history.slice(warm);
    const median = (pick: (stats: BroadcastStats) => number, digits = 1): number =>
      round(quantile(measured.map(pick), 0.5), digits);
    const start = history[warm - 1];
    return {
      framesSent: sent,
      framesSeen: seen,
      fpsIn: round(sent / elapsed),
      fpsOut: round(seen / elapsed),
      firstPictureMs: round(firstPictureMs, 0),
      addedLatencyMs: {
        p50: median(({ addedLatencyMs }) => addedLatencyMs.p50),
        p95: median(({ addedLatencyMs }) => addedLatencyMs.p95),
      },
      steps: Object.fromEntries(
        TIMED_STEPS.map((step) => [
          step,
          { p50: median(({ steps }) => steps[`${step}Ms`]), p95: median(({ stepsP95 }) => stepsP95[`${step}Ms`]) },
        ]),
      ) as StatisticsResult['steps'],
      bySecond: history.map(({ addedLatencyMs, pace, load, model, drops }) => ({
        addedP50Ms: round(addedLatencyMs.p50),
        addedP95Ms: round(addedLatencyMs.p95),
        paceDelayMs: round(pace.delayMs),
        framesLate: pace.framesLate,
        load: round(load, 2),
        rung: model.rungLabel,
        drops,
      })),
      framesLate: last.pace.framesLate - (start?.pace.framesLate ?? 0),
      drops: Object.fromEntries(
        Object.entries(last.drops).flatMap(([reason, count]) => {
          const more = count - (start?.drops[reason] ?? 0);
          return more > 0 ? [[reason, more]] : [];
        }),
      ),
      load: median(({ load }) => load, 2),
      last,
    };
  } finally {
    await publisher.stop();
    await viewer.stop();
    publishing.close();
    watching.close();
  }
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
