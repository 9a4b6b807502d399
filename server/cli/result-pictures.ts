import { existsSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { STANDARD } from '../codec/standard-streams.ts';
import { stillFormatOf } from '../codec/still-format.ts';
import { inputOf, resultOf, type Input, type Result } from './file-names.ts';
import { checkKept, keepPlace, settle, type KeepPlace } from './kept-folder.ts';
import { ResultFile, attempt, checkFolder, checkRoom, existsAlready, unwritable } from './result-file.ts';
import type { ResultOptions } from './result-file.ts';
import { ResultLock } from './result-lock.ts';

/** A result that is not complete yet. */
export interface ClaimedResult {
  /** Where the job writes: a file, for pictures a folder. */
  readonly part: string;
  /** Absent for standard output. */
  readonly keep?: KeepPlace;
  /** What the user should know of what was there. */
  readonly notices: readonly string[];
  /** Finished frames that stay for another run; 0 before discard() and after publish(). */
  readonly keptFrames: number;
  /** In one step; of pictures, one step each. Nothing is left behind when it fails. */
  publish(): void;
  /** Idempotent, and without effect after publish(). */
  discard(): void;
}

/** Everything about the names is checked here, before any work. @throws AppError file.unreadable | file.unwritable */
export function claimResult(inputName: string, output: string, options: ResultOptions): ClaimedResult {
  const input = inputOf(inputName);
  if (output === STANDARD) {
    return { part: STANDARD, notices: [], keptFrames: 0, publish: () => undefined, discard: () => undefined };
  }
  // A folder or the input itself as the result gets its own sentence; a wrong ending is said after that.
  if (input.kind === 'file') ResultFile.check(inputName, output, options.overwrite);
  const result = resultOf(output, input);
  if (result.kind === 'pictures') return ResultPictures.claim(input, result, options);
  const [first = inputName] = input.kind === 'pictures' ? input.files : [];
  return ResultFile.claim(first, output, options);
}

/**
 * With --resume a result that is there is complete, as results appear in one step: nothing is to be done, which is said. Of pictures
 * each one is looked for by itself.
 */
export function isComplete(inputName: string, output: string, { resume }: Pick<ResultOptions, 'resume'>): boolean {
  if (resume !== true || output === STANDARD || !existsSync(output)) return false;
  if (resultOf(output, inputOf(inputName)).kind === 'pictures') return false;
  ResultFile.check(inputName, output, true);
  process.stderr.write(`${output} is complete already.\n`);
  return true;
}

/** Pictures grow in a hidden folder beside their place, and are moved when all are there. */
class ResultPictures implements ClaimedResult {
  readonly part: string;
  readonly keep: KeepPlace;
  readonly notices: readonly string[];
  keptFrames = 0;
  readonly #result: Extract<Result, { kind: 'pictures' }>;
  readonly #overwrite: boolean;
  readonly #lock: ResultLock;
  #ended = false;

  private constructor(
    result: Extract<Result, { kind: 'pictures' }>,
    { keep, notices }: Pick<ResultPictures, 'keep' | 'notices'>,
    lock: ResultLock,
    overwrite: boolean,
  ) {
    this.#result = result;
    this.part = keep.folder;
    this.keep = keep;
    this.notices = notices;
    this.#lock = lock;
    this.#overwrite = overwrite;
  }

  static claim(input: Input, result: Extract<Result, { kind: 'pictures' }>, options: ResultOptions): ResultPictures {
    const { label, folder } = result;
    // A folder that the user named as the result is made, one in which numbered pictures go is not.
    const isNew = /[/\\]$/.test(label) && !existsSync(folder);
    if (isNew) attempt(label, () => mkdirSync(folder));
    try {
      checkFolder(path.join(folder, 'x'), label);
      checkRoom(label, folder, options);
      checkPictures(input, result, options.overwrite || options.resume === true);
      const place = path.join(folder, path.basename(label));
      const lock = attempt(label, () => ResultLock.take(place));
      const keep = keepPlace(place, options.resume);
      let notices: readonly string[] = [];
      try {
        attempt(label, () => {
          notices = checkKept(label, keep, options);
          mkdirSync(keep.folder, { recursive: true });
        });
      } catch (error) {
        lock.release();
        throw error;
      }
      return new ResultPictures(result, { keep, notices }, lock, options.overwrite);
    } catch (error) {
      if (isNew) rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  publish(): void {
    try {
      attempt(this.#result.label, () => {
        for (const name of readdirSync(this.part)) if (stillFormatOf(name) !== undefined) this.#put(name);
        rmSync(this.part, { recursive: true, force: true });
      });
    } finally {
      this.discard();
    }
  }

  discard(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.keptFrames = settle(this.keep);
    this.#lock.release();
  }

  #put(name: string): void {
    const from = path.join(this.part, name);
    const to = path.join(this.#result.folder, name);
    if (!this.#overwrite) {
      try {
        linkSync(from, to);
        return;
      } catch {
        if (existsSync(to)) throw existsAlready(to);
      }
    }
    renameSync(from, to);
  }
}

/** Pictures that are there already: inputs are never replaced, others only with --overwrite. */
function checkPictures(
  input: Input,
  { label, folder, matches }: Extract<Result, { kind: 'pictures' }>,
  overwrite: boolean,
): void {
  const found = readdirSync(folder).filter(matches);
  const inputs = new Set((input.kind === 'pictures' ? input.files : [input.file]).map(identity));
  for (const name of found) {
    const file = path.join(folder, name);
    if (inputs.has(identity(file))) {
      throw unwritable(label, `${name} is one of the inputs, which are never changed`, 'Give another folder or name.');
    }
    if (!overwrite) throw existsAlready(file);
  }
}

function identity(file: string): string {
  const found = statSync(file, { bigint: true, throwIfNoEntry: false });
  return found === undefined ? file : `${found.dev}:${found.ino}`;
}
