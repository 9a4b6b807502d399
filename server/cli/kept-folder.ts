import { readdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { framesInSegments } from '../codec/segment-store.ts';
import { stillFormatOf } from '../codec/still-format.ts';
import { AppError } from '../errors.ts';
import { hiddenName } from './result-lock.ts';

/**
 * The hidden folder beside a result that holds finished frames until the result is complete: segments of a film, or pictures. A run
 * that was stopped leaves it for `--resume`.
 */

/** Says what the frames were made of and how (kept-work.ts). */
export const MANIFEST = 'manifest.json';
/** A picture that is being written. */
export const UNFINISHED = '.unfinished';
/** Less work than this is not worth a folder that a person finds and wonders about. */
const WORTH_SECONDS = 60;

export interface KeepPlace {
  readonly folder: string;
  /** The user asked for it: whatever is finished stays. */
  readonly always: boolean;
}

export function keepPlace(result: string, resume: boolean | undefined): KeepPlace {
  return { folder: hiddenName(result, '.kept'), always: resume === true };
}

/** Finished frames in the folder, which need not exist. */
export function keptFrames(folder: string): number {
  return framesInSegments(folder) + namesIn(folder).filter((name) => stillFormatOf(name) !== undefined).length;
}

/** At the end of a run without a result: what is not worth keeping is removed. @returns frames that stay */
export function settle({ folder, always }: KeepPlace): number {
  const frames = keptFrames(folder);
  if (frames > 0 && (always || workSeconds(folder) >= WORTH_SECONDS)) return frames;
  rmSync(folder, { recursive: true, force: true });
  return 0;
}

/**
 * Before a run: what an earlier one has left is used, or removed with a word, or the run is refused.
 * @param label the result as the user named it @returns sentences for the user
 * @throws AppError file.unwritable
 */
export function checkKept(
  label: string,
  { folder }: KeepPlace,
  { overwrite, resume = false }: { readonly overwrite: boolean; readonly resume?: boolean | undefined },
): string[] {
  const frames = keptFrames(folder);
  if (frames === 0) {
    rmSync(folder, { recursive: true, force: true });
    return [];
  }
  if (resume) return [];
  if (!overwrite) {
    throw new AppError(
      'file.unwritable',
      `A run for ${label} was stopped; ${frames} finished frames of it are kept in ${folder}.`,
      {
        context: { file: label, folder, frames },
        remedy: 'Give --resume to go on from there, or --overwrite to remove them and start again.',
      },
    );
  }
  rmSync(folder, { recursive: true, force: true });
  return [`${frames} frames of a run that was stopped were removed, as --overwrite asks for.`];
}

/** What ended a run, with the way to go on. */
export function withKept(thrown: unknown, frames: number): AppError {
  const error = AppError.from(thrown);
  if (frames === 0) return error;
  const how = `${frames} finished frames are kept: the same command with --resume goes on from there.`;
  const { code, message, scope, context, remedy } = error;
  if (code !== 'job.stopped')
    return new AppError(code, message, { scope, context, remedy: `${remedy} ${how}`, cause: thrown });
  return new AppError(code, message.replace('nothing of the result is kept.', how), { scope, context, cause: thrown });
}

/** From the beginning of the run to its last finished frame. */
function workSeconds(folder: string): number {
  const times = namesIn(folder).map(
    (name) => statSync(path.join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? NaN,
  );
  return (Math.max(...times) - Math.min(...times)) / 1000;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
