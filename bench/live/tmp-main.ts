import { parseArgs } from 'node:util';
import { startApp, type App } from '../../server/app.ts';
import { quantile } from '../../server/media/quantile.ts';
import { loadConfig } from '../../server/config/config.ts';
import { createLog } from '../../server/log.ts';
import { PeerStack } from '../../server/rtc/peer-stack.ts';
import type { Clip } from '../../testing/clip.ts';
import { measureFanout } from '../../testing/peers/fanout.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { NodeViewer } from '../../testing/peers/node-viewer.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { testRtcOptions } from '../../testing/rtc-options.ts';
import { provenance, writeResult } from '../machine.ts';
import { printTable } from '../table.ts';
import { clipFromFile, measureByStatistics, printStatistics, type StatisticsResult } from './by-statistics.ts';
import { pathRow, round } from './samples.ts';
import { measureServerSide, numberedClip } from './tmp-side.ts';

/**
 * `npm run bench:live`: what the server adds. One run holds the direct path (publisher's packets forwarded untouched) and
 * the upscaled path of the same frames, so that a noisy machine disturbs both alike. Prints tables, writes bench/results/.
 * It judges nothing by itself: compare runs on one quiet machine.
 */
const ALL_PARTS = 'server,glass,join,fanout';
const WARM_UP_SECONDS = 5;
const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'resize' },
    seconds: { type: 'string', default: '32' },
    /** Any of server, glass, join, fanout, statistics. */
    parts: { type: 'string', default: ALL_PARTS },
    /** For `statistics`: an H264 file instead of the numbered clip; broadcasts at once, one run each (`1,2`); warm-up in seconds. */
    clip: { type: 'string' },
    streams: { type: 'string', default: '1' },
    'warm-up': { type: 'string', default: String(WARM_UP_SECONDS) },
    /** The source's width x height (not of `glass`). */
    size: { type: 'string', default: '320x180' },
    device: { type: 'string', default: 'auto' },
    viewers: { type: 'string', default: '48,60' },
  },
});

/** A browser without a GPU shows two frames of three of what it decodes: longer, for as many frames. */
const SHOWN_SHARE = 1.5;
const JOINS = 40;

/** Offer made to first complete frame, one viewer after the other on a running broadcast. */
async function measureJoin(app: App, clip: Clip): Promise<{ joins: number; p50: number; p95: number }> {
  const publishing = await SignalingClient.connect(app.url);
  const watching = await SignalingClient.connect(app.url);
  const publisher = new NodePublisher({ clip });
  await publisher.start(async (offer) => (await publishing.publish('join', offer)).sdp);
  const joinMs: number[] = [];
  for (let count = 0; count < JOINS; count += 1) {
    const viewer = new NodeViewer({ countOnly: true });
    let session = '';
    await viewer.start(async (offer) => {
      const reply = await watching.watch('join', offer);
      session = reply.session;
      return reply.sdp;
    });
    await viewer.waitForFrames(1);
    // The first waits for the worker thread to start; a broadcast that runs is what is measured.
    if (count > 0) joinMs.push(viewer.getStats().joinMs ?? NaN);
    await watching.leave(session);
    await viewer.stop();
  }
  await publisher.stop();
  publishing.close();
  watching.close();
  return { joins: joinMs.length, p50: round(quantile(joinMs, 0.5)), p95: round(quantile(joinMs, 0.95)) };
}

/** A keyframe of eight times the mean size is 64 ms of sending to 48 viewers: rows without and with one every ten seconds. */
async function measureFanouts(): Promise<unknown[]> {
  const results: unknown[] = [];
  const rows: string[][] = [
    ['viewers', 'keyframes', 'connected', 'CPU of one core', 'us a packet', 'late frames', 'incomplete', 'join p95'],
  ];
  for (const viewers of values.viewers.split(',').map(Number)) {
    for (const keyframeEveryFrames of [0, 300]) {
      const stack = new PeerStack(testRtcOptions());
      const result = await measureFanout({ stack, viewers, bitrateBps: 4_000_000, seconds: 20, keyframeEveryFrames });
      await stack.close();
      results.push({ ...result, keyframeEveryFrames });
      const { connected, cpuShare, cpuUsPerPacket, framesLate, framesIncomplete, framesExpected, joinMs } = result;
      rows.push([
        String(viewers),
        keyframeEveryFrames === 0 ? 'none' : 'every 10 s',
        String(connected),
        `${(cpuShare * 100).toFixed(0)} %`,
        cpuUsPerPacket.toFixed(1),
        `${((100 * framesLate) / framesExpected).toFixed(2)} %`,
        `${((100 * framesIncomplete) / framesExpected).toFixed(2)} %`,
        `${joinMs.p95.toFixed(0)} ms`,
      ]);
    }
  }
  printTable('fan-out: 4 Mbit/s a viewer, 20 s; late = more than 33 ms', rows);
  return results;
}

function sourceSize(): [width: number, height: number] {
  const [width = 320, height = 180] = values.size.split('x').map(Number);
  return [width, height];
}

async function main(): Promise<void> {
  const seconds = Number(values.seconds);
  const parts = new Set(values.parts.split(','));
  const argv = [
    '--port',
    '0',
    '--model',
    values.model,
    '--device',
    values.device,
    '--log-level',
    'warn',
    '--limits.maxMessagesPerSecond',
    '200',
  ];
  const config = loadConfig({ argv });
  const app = await startApp(config, createLog(config.log));
  const clip =
    values.clip === undefined
      ? await numberedClip(seconds + WARM_UP_SECONDS + 4, 30, ...sourceSize())
      : clipFromFile(values.clip);
  const result: Record<string, unknown> = { model: app.model };
  const header = ['path', 'frames', 'fps', 'p50 ms', 'p95 ms', 'max ms'];

  if (parts.has('server')) {
    const { forwarded, upscaled, stats } = await measureServerSide(app, clip, WARM_UP_SECONDS, seconds);
    const addedP95 = round(upscaled.p95 - forwarded.p95);
    printTable(
      `server side (no browser): ${app.model.label}, ${stats.source.width}x${stats.source.height} -> ${stats.output.width}x${stats.output.height}`,
      [
        header,
        pathRow('forwarded', forwarded),
        pathRow('upscaled', upscaled),
        ['p95 added', '', '', '', addedP95.toFixed(1), ''],
      ],
    );
    result['serverSide'] = { forwarded, upscaled, addedP95, stats };
  }
  if (parts.has('glass')) {
    // Loaded only when asked for: it needs Chromium.
    const { measureGlassToGlass } = await import('./glass.ts');
    const { forwarded, upscaled, decodedFps, browser } = await measureGlassToGlass(
      app,
      WARM_UP_SECONDS,
      seconds * SHOWN_SHARE,
    );
    const addedP95 = round(upscaled.p95 - forwarded.p95);
    printTable(`glass to glass (Chromium ${browser} camera -> Chromium screen)`, [
      header,
      pathRow('forwarded', forwarded),
      pathRow('upscaled', upscaled),
      ['p95 added', '', '', '', addedP95.toFixed(1), ''],
      ['decoded', '', `${decodedFps.forwarded} / ${decodedFps.upscaled}`, '', '', ''],
    ]);
    result['glassToGlass'] = { forwarded, upscaled, decodedFps, addedP95, browser };
  }
  if (parts.has('statistics')) {
    const runs: { streams: number; results: readonly StatisticsResult[] }[] = [];
    for (const streams of values.streams.split(',').map(Number)) {
      const results = await measureByStatistics(app, clip, streams, Number(values['warm-up']), seconds);
      printStatistics(`live: ${app.model.label} on ${app.model.device}, broadcasts at once: ${streams}`, results);
      runs.push({ streams, results });
    }
    result['statistics'] = runs;
  }
  if (parts.has('join')) {
    const join = await measureJoin(app, clip);
    printTable('join: offer -> first complete frame', [
      ['joins', 'p50 ms', 'p95 ms'],
      [String(join.joins), String(join.p50), String(join.p95)],
    ]);
    result['join'] = join;
  }
  await app.close();
  if (parts.has('fanout')) result['fanout'] = await measureFanouts();
  const command = `npm run bench:live -- ${process.argv.slice(2).join(' ')}`.trim().replace(/ --$/, '');
  console.log(
    `written to ${writeResult(`live-${values.model}${values.parts === ALL_PARTS ? '' : `-${values.parts.replaceAll(',', '-')}`}`, { ...provenance(command), ...result })}`,
  );
}

main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
