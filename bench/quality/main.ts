/**
 * Quality of the shipped models beside resizes and small public models, in one run.
 *
 *     npm run bench:quality -- --data DIR [--models models] [--out bench/results] [--threads 2] [--only nano,bicubic] [--time-only]
 *
 * DIR holds test/, webcam/, train/ and models/ (see bench/quality/README.md); everything missing is listed and nothing is left out
 * in silence: without --allow-missing the run stops. Writes quality-<date>.json and prints Markdown tables.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type { TestClip } from './clips.ts';
import { missingData, stillClips, vid4Clips, videoClips } from './clips.ts';
import type { Method } from './methods.ts';
import { loadMethods, missingModels, timingFrame } from './methods.ts';
import { flicker, inside, perceptualDistance, psnr, ssim } from './metrics.ts';
import type { Plane } from './resize.ts';

interface Row {
  scale: number;
  set: string;
  clip: string;
  method: string;
  frames: number;
  kbps?: number;
  psnrDb: number;
  ssim: number;
  perceptual: number;
  flickerLevels: number | null;
}

interface Timing {
  method: string;
  input: string;
  threads: number;
  medianMs: number;
  p10Ms: number;
  runs: number;
}

const mean = (values: number[]): number => values.reduce((a, b) => a + b, 0) / values.length;

async function scoreClip(clip: TestClip, method: Method): Promise<Row> {
  method.reset();
  const { scale } = method;
  const scores = { psnr: [] as number[], ssim: [] as number[], perceptual: [] as number[], flicker: [] as number[] };
  let before: { ours: Plane; truth: Plane } | undefined;
  for (const [index, frame] of clip.frames.entries()) {
    if (index < clip.warm && !method.recurrent) continue;
    const whole = await method.luma(frame);
    if (index < clip.warm) continue;
    const [ours, truth] = [inside(whole, scale), inside(frame.truth, scale)];
    scores.psnr.push(psnr(ours, truth));
    scores.ssim.push(ssim(ours, truth));
    scores.perceptual.push(perceptualDistance(ours, truth));
    if (before) scores.flicker.push(flicker(before.ours, ours, before.truth, truth));
    before = { ours, truth };
  }
  const round = (value: number, digits: number): number => Number(value.toFixed(digits));
  return {
    scale,
    set: clip.set,
    clip: clip.name,
    method: method.name,
    frames: scores.psnr.length,
    ...(clip.kbps === undefined ? {} : { kbps: round(clip.kbps, 1) }),
    psnrDb: round(mean(scores.psnr), 3),
    ssim: round(mean(scores.ssim), 4),
    perceptual: round(mean(scores.perceptual), 4),
    flickerLevels: scores.flicker.length ? round(mean(scores.flicker), 3) : null,
  };
}

/** Rounds over all methods in turn, so that a busy moment of the machine hits every method alike. */
async function timeMethods(
  methods: Method[],
  width: number,
  height: number,
  threads: number,
  rounds: number,
): Promise<Timing[]> {
  const frame = timingFrame(width, height);
  const runs = methods.flatMap((method) =>
    method.timed ? [{ method, run: method.timed(frame), ms: [] as number[] }] : [],
  );
  for (const { method, run } of runs) {
    method.reset();
    await run();
    await run();
  }
  for (let round = 0; round < rounds; round++)
    for (const entry of runs)
      for (let k = 0; k < 3; k++) {
        const begin = performance.now();
        await entry.run();
        entry.ms.push(performance.now() - begin);
      }
  return runs.map(({ method, ms }) => {
    ms.sort((a, b) => a - b);
    const at = (share: number): number => Number((ms[Math.floor(share * (ms.length - 1))] ?? NaN).toFixed(2));
    return {
      method: method.name,
      input: `${width}x${height}`,
      threads,
      medianMs: at(0.5),
      p10Ms: at(0.1),
      runs: ms.length,
    };
  });
}

function printTables(rows: Row[], timings: Timing[]): void {
  const sets = [...new Set(rows.map(({ scale, set }) => `${scale}|${set}`))];
  for (const key of sets) {
    const [scale, set] = key.split('|');
    const of = rows.filter((row) => row.scale === Number(scale) && row.set === set);
    const rates = of.flatMap(({ kbps }) => (kbps === undefined ? [] : [kbps]));
    console.log(`\n### x${scale} ${set}${rates.length ? `, ${mean(rates).toFixed(0)} kbit/s in the stream` : ''}\n`);
    console.log('| model | PSNR Y dB | SSIM Y | MS-GMSD (lower) | flicker (lower) |\n|---|---|---|---|---|');
    for (const name of new Set(of.map(({ method }) => method))) {
      const mine = of.filter(({ method }) => method === name);
      const changes = mine.flatMap(({ flickerLevels: value }) => (value === null ? [] : [value]));
      const cells = [mean(mine.map((r) => r.psnrDb)).toFixed(2), mean(mine.map((r) => r.ssim)).toFixed(4)];
      cells.push(mean(mine.map((r) => r.perceptual)).toFixed(4), changes.length ? mean(changes).toFixed(2) : '-');
      console.log(`| ${name} | ${cells.join(' | ')} |`);
    }
  }
  if (!timings.length) return;
  console.log(
    '\n### Run time of the network alone\n\n| model | input | threads | median ms | fastest tenth ms |\n|---|---|---|---|---|',
  );
  for (const t of timings) console.log(`| ${t.method} | ${t.input} | ${t.threads} | ${t.medianMs} | ${t.p10Ms} |`);
}

const { values } = parseArgs({
  options: {
    data: { type: 'string' },
    models: { type: 'string', default: 'models' },
    out: { type: 'string', default: 'bench/results' },
    name: { type: 'string' },
    threads: { type: 'string', default: '2' },
    only: { type: 'string' },
    sets: { type: 'string', default: 'stills,vid4,video,x2' },
    warm: { type: 'string', default: '16' },
    frames: { type: 'string', default: '8' },
    rounds: { type: 'string', default: '8' },
    'time-only': { type: 'boolean', default: false },
    'no-time': { type: 'boolean', default: false },
    'allow-missing': { type: 'boolean', default: false },
  },
});
const { data } = values;
if (!data)
  throw new Error(
    '--data DIR is missing: the folder with test/, webcam/, train/ and models/ (bench/quality/README.md)',
  );
const missing = [...missingData(data), ...missingModels(data)];
if (missing.length) {
  console.error(`missing in ${data}:\n${missing.map((file) => `  ${file}`).join('\n')}`);
  if (!values['allow-missing']) {
    console.error(
      'nothing was measured; add the files, or pass --allow-missing to stop at the first set that needs one',
    );
    process.exit(2);
  }
}
const threads = Number(values.threads);
const only = values.only?.split(',');
const sets = values['time-only'] ? [] : values.sets.split(',');
const [warm, scored] = [Number(values.warm), Number(values.frames)];
const four = await loadMethods({ models: values.models, data, threads, scale: 4, only });
const two = await loadMethods({ models: values.models, data, threads, scale: 2, only });
const rows: Row[] = [];

async function score(clips: Iterable<TestClip>, methods: Method[]): Promise<void> {
  for (const clip of clips)
    for (const method of methods) {
      const row = await scoreClip(clip, method);
      rows.push(row);
      const rate = row.kbps === undefined ? '' : `, ${row.kbps} kbit/s`;
      console.error(`x${row.scale} ${row.set}${rate} ${row.clip} ${row.method}: ${row.psnrDb} dB, SSIM ${row.ssim}`);
    }
}

if (sets.includes('stills')) await score(stillClips(data), four);
if (sets.includes('vid4')) await score(vid4Clips(data, 4), four);
if (sets.includes('video')) await score(videoClips(data, 4, warm, scored), four);
if (sets.includes('x2')) {
  await score(vid4Clips(data, 2), two);
  await score(videoClips(data, 2, warm, scored), two);
}
const timings: Timing[] = [];
if (!values['no-time']) {
  timings.push(...(await timeMethods(four, 320, 180, threads, Number(values.rounds))));
  timings.push(...(await timeMethods(two, 640, 360, threads, Number(values.rounds))));
}
printTables(rows, timings);

const git = (...args: string[]): string => execFileSync('git', args, { encoding: 'utf8' }).trim();
const date = new Date().toISOString().slice(0, 10);
const sha256 = (name: string): string =>
  (JSON.parse(readFileSync(join(values.models, name, 'manifest.json'), 'utf8')) as { sha256: string }).sha256;
const report = {
  date,
  commit: git('rev-parse', 'HEAD'),
  command: `npm run bench:quality -- ${process.argv
    .slice(2)
    .filter((word) => word !== data)
    .join(' ')}`,
  machine: {
    cpu: cpus()[0]?.model,
    cores: cpus().length,
    loadAverage: loadavg().map((value) => Number(value.toFixed(2))),
    node: process.version,
  },
  models: Object.fromEntries(['nano', 'mini', 'nano-x2'].map((name) => [name, sha256(name)])),
  settings: { threads, warmFrames: warm, scoredFrames: scored, missing },
  rows,
  timings,
};
mkdirSync(values.out, { recursive: true });
const file = join(values.out, `quality-${values.name ?? date}.json`);
writeFileSync(file, `${JSON.stringify(report, null, 1)}\n`);
console.error(`\nwritten: ${file}`);
