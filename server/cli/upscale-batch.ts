import { existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { containerOf } from '../codec/containers.ts';
import { stillFormatOf } from '../codec/still-format.ts';
import { AppError } from '../errors.ts';
import { upscaleIsolated } from './isolated-upscale.ts';
import { createProgress, durationText, type Progress } from './progress.ts';
import { makeFolderOf } from './result-file.ts';
import { StopSignals, stopped } from './stop-signals.ts';
import { isComplete } from './result-pictures.ts';
import type { UpscaleOptions, UpscaleResult } from './upscale-file.ts';

/** Several inputs into one folder. One that fails is listed at the end, and the others go on. */

export interface BatchItem {
  readonly input: string;
  readonly output: string;
}

/** Results have their inputs' names; films in containers that are not written become .mp4. @throws AppError config.invalid */
export function batchItems(inputs: readonly string[], folder: string): BatchItem[] {
  const found = statSync(folder, { throwIfNoEntry: false });
  if (found !== undefined && !found.isDirectory()) {
    throw new AppError('config.invalid', `${folder} is not a folder, which several inputs need as their result.`, {
      remedy: 'Give a folder as the last name.',
    });
  }
  const isFile = containerOf(folder) !== undefined || stillFormatOf(folder) !== undefined;
  if (found === undefined && isFile && !/[/\\]$/.test(folder)) {
    throw new AppError('config.invalid', `${inputs.length} inputs cannot become one file, ${folder}.`, {
      remedy: 'Give a folder as the last name, or one input.',
    });
  }
  return inputs.map((input) => {
    const name = path.basename(input.replace(/[?#].*$/, (rest) => (/^https?:/i.test(input) ? '' : rest)));
    const isKept = containerOf(name) !== undefined || stillFormatOf(name) !== undefined;
    return { input, output: path.join(folder, isKept ? name : `${path.parse(name).name}.mp4`) };
  });
}

/** @returns what failed, with its reason @throws AppError job.stopped */
export async function upscaleBatch(
  items: readonly BatchItem[],
  options: UpscaleOptions,
  report: (item: BatchItem, result: UpscaleResult) => void,
  upscale: typeof upscaleIsolated = upscaleIsolated,
): Promise<readonly { readonly item: BatchItem; readonly error: AppError }[]> {
  const failures: { readonly item: BatchItem; readonly error: AppError }[] = [];
  const signals = new StopSignals();
  const clock = new BatchClock(items);
  const taken = new Set<string>();
  try {
    for (const [index, item] of items.entries()) {
      if (signals.signal !== undefined) throw stopped(item.input, signals.signal);
      const title = `[${index + 1}/${items.length}] ${path.basename(item.input)}`;
      const note = (share: number): string => clock.left(item, share);
      const progress = (total: number | undefined): Progress => createProgress({ title, total, unit: 'frames', note });
      try {
        if (taken.has(item.output)) throw twice(item);
        taken.add(item.output);
        makeFolderOf(item.output);
        if (isComplete(item.input, item.output, options)) continue;
        report(item, await upscale(item.input, item.output, { ...options, progress }, { signals }));
      } catch (thrown) {
        const error = AppError.from(thrown);
        if (error.code === 'job.stopped') throw error;
        failures.push({ item, error });
        process.stderr.write(`[${index + 1}/${items.length}] ${item.input} failed: ${error.message}\n`);
      } finally {
        clock.done(item);
      }
    }
    return failures;
  } finally {
    signals.close();
  }
}

/** What is left of a batch, by the bytes of its inputs: nothing else of them is known before they are opened. */
export class BatchClock {
  readonly #nowMs: () => number;
  readonly #startedAtMs: number;
  readonly #sizes: ReadonlyMap<string, number>;
  #doneBytes = 0;
  #leftBytes: number;

  constructor(items: readonly BatchItem[], nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
    this.#startedAtMs = nowMs();
    this.#sizes = new Map(items.map(({ input }) => [input, sizeOf(input)]));
    this.#leftBytes = items.reduce((sum, { input }) => sum + (this.#sizes.get(input) ?? 0), 0);
  }

  done({ input }: BatchItem): void {
    const bytes = this.#sizes.get(input) ?? 0;
    this.#doneBytes += bytes;
    this.#leftBytes -= bytes;
  }

  /** @param share of the file at work that is done, 0 to 1 @returns empty while nothing is known */
  left({ input }: BatchItem, share: number): string {
    const bytes = share * (this.#sizes.get(input) ?? 0);
    const done = this.#doneBytes + bytes;
    if (done === 0) return '';
    const seconds = ((this.#nowMs() - this.#startedAtMs) / 1000) * ((this.#leftBytes - bytes) / done);
    return `; all files: ${durationText(seconds)} left`;
  }
}

function sizeOf(input: string): number {
  return existsSync(input) ? statSync(input).size : 0;
}

function twice({ output }: BatchItem): AppError {
  return new AppError('file.unwritable', `${output} is already the result of another input of the same name.`, {
    context: { file: output },
    remedy: 'Run these inputs apart, each with a name of its result.',
  });
}
