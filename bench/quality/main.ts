/**
 * Quality of the shipped models beside resizes and small public models, in one run: `npm run bench:quality` (README.md here).
 * Progress goes to stderr, tables to stdout, everything to quality-<date>.json and .md.
 */
import { readFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { provenance } from '../machine.ts';
import { PARTS, type TestClip } from './clips.ts';
import { cropSheet } from './crops.ts';
import { loadMethods, type Method } from './methods.ts';
import { runCommand, UsageError } from '../command.ts';
import { readOptions, USAGE, type Options } from './options.ts';
import { markdown } from './report.ts';
import { checkRequirements } from './requirements.ts';
import { scoreClip, type Row } from './score.ts';
import { machineState, timeMethods, type MachineState, type Timing } from './timing.ts';

const TIMED_SIZES: Readonly<Record<number, { width: number; height: number }>> = {
  4: { width: 320, height: 180 },
  2: { width: 640, height: 360 },
};

/** Faces and textures of the crops, in high-resolution pixels; multiples of 8. */
const WINDOWS: Readonly<Record<string, { left: number; top: number; width: number; height: number }>> = {
  astronaut: { left: 96, top: 0, width: 160, height: 128 },
};

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function scorePart(clips: Iterable<TestClip>, methods: readonly Method[], rows: Row[]): Promise<void> {
  for (const clip of clips)
    for (const method of methods) {
      const row = await scoreClip(clip, method);
      rows.push(row);
      const rate = row.kbps === undefined ? '' : `, took ${row.kbps} kbit/s`;
      say(
        `x${row.scale} ${row.set}${rate} ${row.clip} ${row.method}: ${row.psnrDb} dB, SSIM ${row.ssim}, MS-GMSD ${row.perceptual}`,
      );
    }
}

async function measure(options: Options, byScale: Map<number, Method[]>) {
  const rows: Row[] = [];
  for (const name of options.parts) {
    const part = PARTS[name];
    if (part) await scorePart(part.clips(options.settings), byScale.get(part.scale) ?? [], rows);
  }
  const timings: Timing[] = [];
  let machine: MachineState | undefined;
  if (options.time) {
    machine = await machineState();
    say(`timing; before it ${machine.busyPercent} % of the cores busy, load average ${machine.loadAverage.join(', ')}`);
    if (machine.busyPercent > 5) say('something else is running: compare these times within this run only');
    for (const [scale, methods] of byScale) {
      const size = TIMED_SIZES[scale];
      if (size) timings.push(...(await timeMethods(methods, size, options.threads, options.rounds)));
    }
  }
  return { rows, timings, machine };
}

async function writeCrops({ crops, cropsOf, settings, parts }: Options, byScale: Map<number, Method[]>): Promise<void> {
  if (!crops) return;
  mkdirSync(crops, { recursive: true });
  const [clipName = '', onlyWindow] = cropsOf.split('@');
  const given = onlyWindow?.split(',').map(Number);
  const window = given
    ? { left: given[0] ?? 0, top: given[1] ?? 0, width: given[2] ?? 160, height: given[3] ?? 128 }
    : (WINDOWS[clipName] ?? { left: 480, top: 160, width: 240, height: 192 });
  let written = 0;
  for (const name of parts) {
    const part = PARTS[name];
    if (!part) continue;
    for (const clip of part.clips(settings)) {
      if (clip.name !== clipName) continue;
      const methods = byScale.get(part.scale) ?? [];
      const look = { columns: 4, factor: 2 };
      const { png, labels } = await cropSheet(clip, methods, window, look);
      const file = join(crops, `crops-x${part.scale}-${`${clip.set} ${clip.name}`.replace(/[^a-z0-9]+/gi, '-')}.png`);
      writeFileSync(file, png);
      say(`${file}: ${labels.join(' | ')}`);
      written++;
    }
  }
  if (!written) throw new UsageError(`--crops-of ${clipName}: no clip of that name in the parts ${parts.join(', ')}`);
}

function sha256Of(models: string, shipped: readonly string[]): Record<string, string> {
  const read = (name: string): string => {
    const manifest = JSON.parse(readFileSync(join(models, name, 'manifest.json'), 'utf8')) as { sha256?: string };
    return manifest.sha256 ?? 'not stated';
  };
  return Object.fromEntries(shipped.map((name) => [name, read(name)]));
}

/** The command as anyone can repeat it: without this machine's folders. */
const command = (args: readonly string[], data: string): string =>
  `npm run bench:quality -- ${args.map((word) => (data && word.endsWith(data) ? word.replace(data, 'DIR') : word)).join(' ')}`;

async function main(args: string[]): Promise<void> {
  const options = readOptions(args);
  for (const line of options.notRun) say(line);
  const scales = new Set(options.parts.flatMap((name) => PARTS[name]?.scale ?? []));
  if (options.time) for (const scale of Object.keys(TIMED_SIZES)) scales.add(Number(scale));
  const byScale = new Map<number, Method[]>();
  for (const scale of [...scales].sort((a, b) => b - a))
    byScale.set(scale, await loadMethods({ ...options, names: options.methods }, scale));
  const { rows, timings, machine } = await measure(options, byScale);
  await writeCrops(options, byScale);
  const loaded = [...byScale.values()].flat();
  const verdicts = checkRequirements(rows, timings);
  const parameters = Object.fromEntries(loaded.map((method) => [method.name, method.parameters]));
  const { notRun, settings, threads, out } = options;
  const text = markdown({ rows, timings, verdicts, parameters, notRun, ...(machine ? { machine } : {}) });
  console.log(text);
  const origin = provenance(command(args, options.data));
  const { data: _data, ...frames } = settings;
  const models = sha256Of(
    options.models,
    loaded.filter((method) => method.product).map((method) => method.name),
  );
  const report = {
    ...origin,
    models,
    settings: { threads, ...frames },
    notRun,
    machineState: machine,
    parameters,
    verdicts,
    rows,
    timings,
  };
  mkdirSync(out, { recursive: true });
  const file = join(out, `quality-${options.name ?? origin.date}`);
  writeFileSync(`${file}.json`, `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(
    `${file}.md`,
    `# ${origin.command}\n\n${origin.date}, ${origin.machine}, Node ${origin.node}, commit ${origin.commit}\n\n${text}`,
  );
  say(`written: ${file}.json, ${file}.md`);
  for (const method of loaded) await method.close();
  if (options.require && verdicts.some(({ met }) => met === false)) process.exitCode = 1;
}

await runCommand(main, USAGE);
