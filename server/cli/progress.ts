import cliProgress from 'cli-progress';
import type { StepProgress } from '../models/import.ts';

/** How far a long job is: a bar on a terminal, a line every few seconds elsewhere (logs, pipes). */
export interface Progress {
  update(done: number): void;
  /** As update(), for what was there before: rates and times count from the last of them. @param before how many of them */
  kept(done: number, before: number): void;
  /** A line of its own, for what a person should read before the job ends. */
  say(words: string): void;
  /** @param done replaces the total, which may have been an estimate */
  finish(done: number): void;
  /** The job ended before its end: leaves the terminal as it was. Idempotent, and without effect after finish(). */
  stop(): void;
}

export interface ProgressOptions {
  /** In front of every line, for example `Downloading`. */
  readonly title?: string;
  /** Absent: unknown. */
  readonly total?: number | undefined;
  /** Behind every line, for example what is left of the batch that this job is part of. @param share 0 to 1; 0 where it is unknown */
  readonly note?: (share: number) => string;
  /** What is counted, for people: `frames`, `MiB`. */
  readonly unit: string;
  readonly stream?: NodeJS.WriteStream;
}

const LINE_INTERVAL_MS = 5_000;
const MIB = 2 ** 20;

export function createProgress(options: ProgressOptions): Progress {
  const { stream = process.stderr } = options;
  return stream.isTTY ? barProgress(options, stream) : lineProgress(options, stream);
}

function barProgress(
  { title = '', total, unit, note = noNote }: ProgressOptions,
  stream: NodeJS.WriteStream,
): Progress {
  const left = `${title.padEnd(title === '' ? 0 : 17)}  `;
  const format =
    total === undefined
      ? `${left}{value} ${unit}  {rate} ${unit}/s  {duration_formatted}{note}`
      : `${left}{bar} {percentage} %  {value}/{total} ${unit}  {rate} ${unit}/s  {eta_formatted} left{note}`;
  const bar = new cliProgress.SingleBar({ format, stream, hideCursor: true }, cliProgress.Presets.shades_classic);
  const rate = rateMeter();
  bar.start(total ?? 0, 0, { rate: '0', note: note(0) });
  return {
    update: (done) => bar.update(done, { rate: rate.of(done), note: note(shareOf(done, total)) }),
    kept: (done, before) => {
      rate.from(before);
      bar.update(done, { rate: '0', note: '' });
    },
    // In place of the bar, which comes again below it with the next update.
    say: (words) => void stream.write(`\r\x1b[K${words}\n`),
    finish: (done) => {
      bar.setTotal(done);
      bar.update(done, { rate: rate.of(done), note: note(1) });
      bar.stop();
    },
    stop: () => bar.stop(),
  };
}

function lineProgress({ title, total, unit, note = noNote }: ProgressOptions, stream: NodeJS.WriteStream): Progress {
  const rate = rateMeter();
  let lastMs = performance.now();
  const line = (done: number, of: number | undefined): void => {
    const share = of === undefined || of === 0 ? '' : ` of ${of} (${Math.min(100, Math.floor((100 * done) / of))} %)`;
    const perSecond = rate.of(done);
    const left = of === undefined || of <= done || Number(perSecond) <= 0 ? undefined : (of - done) / Number(perSecond);
    const time = left === undefined ? '' : `, ${durationText(left)} left`;
    stream.write(
      `${title === undefined ? '' : `${title}: `}${done}${share} ${unit}, ${perSecond} ${unit}/s${time}${note(shareOf(done, of))}\n`,
    );
  };
  return {
    update: (done) => {
      if (performance.now() - lastMs < LINE_INTERVAL_MS) return;
      lastMs = performance.now();
      line(done, total);
    },
    kept: (_done, before) => rate.from(before),
    say: (words) => void stream.write(`${title === undefined ? '' : `${title}: `}${words}\n`),
    finish: (done) => line(done, done),
    stop: () => undefined,
  };
}

const noNote = (): string => '';

function shareOf(done: number, total: number | undefined): number {
  return total === undefined || total <= 0 ? 0 : Math.min(1, done / total);
}

/** `7 s`, `3 min 20 s`, `2 h 5 min`. */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  if (whole < 60) return `${whole} s`;
  const minutes = Math.floor(whole / 60);
  return minutes < 60 ? `${minutes} min ${whole % 60} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function rateMeter(): { of: (done: number) => string; from: (before: number) => void } {
  let startMs = performance.now();
  let start = 0;
  return {
    of: (done) => ((done - start) / Math.max(0.001, (performance.now() - startMs) / 1000)).toFixed(1),
    from: (before) => {
      start = before;
      startMs = performance.now();
    },
  };
}

/** The steps of getting a model that take long enough for a bar. */
const STEPS: Readonly<Record<string, string>> = {
  download: 'Downloading',
  check: 'Checking weights',
  write: 'Writing',
  hash: 'Hashing',
};

/** A progress for each step of a job that reports bytes; `stop` ends the last one. */
export function createStepProgress(stream: NodeJS.WriteStream = process.stderr): {
  readonly report: StepProgress;
  readonly stop: () => void;
} {
  let current: { readonly step: string; readonly progress: Progress; doneMib: number } | undefined;
  const stop = (): void => {
    current?.progress.finish(current.doneMib);
    current = undefined;
  };
  const report: StepProgress = (step, done, total) => {
    const title = STEPS[step];
    if (title === undefined) return;
    if (current?.step !== step) {
      stop();
      const progress = createProgress({ title, total: Math.ceil(total / MIB), unit: 'MiB', stream });
      current = { step, progress, doneMib: 0 };
    }
    current.doneMib = Math.ceil(done / MIB);
    current.progress.update(current.doneMib);
  };
  return { report, stop };
}
