import { parseArgs } from 'node:util';
import { startApp, type App } from '../../server/app.ts';
import { loadConfig } from '../../server/config/config.ts';
import { createLog } from '../../server/log.ts';
import { quantile } from '../../server/media/quantile.ts';
import { clipFromFile, measureByStatistics } from '../live/by-statistics.ts';
import { printTable } from '../table.ts';
import { measureLoss } from './loss.ts';

/**
 * `npm run bench:gpus -- --clip FILE`: live broadcasts of FlashVSR (synthetic weights) on one GPU and on all of them, and what
 * viewers see when one GPU fails in the middle. Needs several GPUs; judges nothing by itself.
 */
const { values } = parseArgs({
  options: {
    /** H264 Annex B with access unit delimiters, 30 frames/s. */
    clip: { type: 'string' },
    devices: { type: 'string', default: '0,1' },
    /** Broadcasts on each GPU. */
    streams: { type: 'string', default: '2' },
    seconds: { type: 'string', default: '12' },
    'warm-up': { type: 'string', default: '6' },
    /** Built from fault.cu; without it no GPU is made to fail. */
    fault: { type: 'string' },
    model: { type: 'string', default: 'flashvsr-synthetic' },
  },
});
if (values.clip === undefined)
  throw new Error('--clip FILE is missing: an H264 Annex B file with access unit delimiters.');
const clip = clipFromFile(values.clip);
const devices = values.devices.split(',').map(Number);
const [streams, seconds, warmUp] = [values.streams, values.seconds, values['warm-up']].map(Number) as [
  number,
  number,
  number,
];

async function start(on: readonly number[]): Promise<App> {
  const argv = ['--port', '0', '--model', values.model, '--device', 'cuda', '--model.devices', JSON.stringify(on)];
  const config = loadConfig({ argv: [...argv, '--log-level', 'warn', '--limits.maxBroadcasts', '64'] });
  return startApp(config, createLog(config.log));
}

async function throughput(on: readonly number[], count: number): Promise<string[]> {
  const app = await start(on);
  try {
    const results = await measureByStatistics(app, clip, count, warmUp, seconds);
    const sum = results.reduce((all, { fpsOut }) => all + fpsOut, 0);
    const median = (pick: 'p50' | 'p95'): string =>
      quantile(
        results.map(({ addedLatencyMs }) => addedLatencyMs[pick]),
        0.5,
      ).toFixed(0);
    const rungs = [...new Set(results.map(({ last }) => last.model.rungLabel))].join(', ');
    const worst = Math.min(...results.map(({ fpsOut }) => fpsOut));
    return [on.join(' '), `${count}`, sum.toFixed(1), worst.toFixed(1), `${median('p50')} / ${median('p95')}`, rungs];
  } finally {
    await app.close();
  }
}

const [first = 0] = devices;
printTable('throughput', [
  ['GPUs', 'broadcasts', 'fps of all', 'of the slowest', 'added ms p50 / p95 (medians)', 'rung'],
  await throughput([first], streams),
  await throughput(devices, streams * devices.length),
]);

if (values.fault !== undefined) {
  const device = devices.at(-1) ?? 0;
  const app = await start(devices);
  try {
    const wanted = { streams: streams * devices.length, seconds: Math.max(6, warmUp), device, library: values.fault };
    const rows = (await measureLoss(app, clip, wanted)).map(
      ({ name, gapBeforeMs, gapAfterMs, lostAfter, framesAfter }) => [
        ...[name, `${gapBeforeMs}`, `${gapAfterMs}`, `${lostAfter}`, `${framesAfter}`],
      ],
    );
    const header = ['', 'longest gap before, ms', 'after, ms', 'pictures lost after', 'pictures after'];
    printTable(`GPU ${device} fails`, [header, ...rows]);
    console.log((await (await fetch(`${app.url}/metrics`)).text()).match(/^flashvsr_engine_\w+\{.*$/gm)?.join('\n'));
    console.log(`readyz: ${(await fetch(`${app.url}/readyz`)).status}`);
  } finally {
    await app.close();
  }
}
