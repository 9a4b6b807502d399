import { randomBytes } from 'node:crypto';
import { existsSync, linkSync, mkdirSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { STANDARD } from '../codec/standard-streams.ts';
import { inputOf, resultOf, type Input, type Result } from './file-names.ts';
import {
  ResultFile,
  attempt,
  checkFolder,
  checkRoom,
  existsAlready,
  removeLeftovers,
  unwritable,
} from './result-file.ts';
import type { ResultOptions } from './result-file.ts';
import { ResultLock, hiddenName } from './result-lock.ts';

/** A result that is not complete yet. */
export interface ClaimedResult {
  /** Where the job writes: a file, for pictures a folder. */
  readonly part: string;
  /** In one step; of pictures, one step each. Nothing is left behind when it fails. */
  publish(): void;
  /** Idempotent, and without effect after publish(). */
  discard(): void;
}

/** Everything about the names is checked here, before any work. @throws AppError file.unreadable | file.unwritable */
export function claimResult(inputName: string, output: string, options: ResultOptions): ClaimedResult {
  const input = inputOf(inputName);
  if (output === STANDARD) return { part: STANDARD, publish: () => undefined, discard: () => undefined };
  // A folder or the input itself as the result gets its own sentence; a wrong ending is said after that.
  if (input.kind === 'file') ResultFile.check(inputName, output, options.overwrite);
  const result = resultOf(output, input);
  if (result.kind === 'pictures') return ResultPictures.claim(input, result, options);
  const [first = inputName] = input.kind === 'pictures' ? input.files : [];
  return ResultFile.claim(first, output, options);
}

/** Pictures grow in a hidden folder beside their place. */
class ResultPictures implements ClaimedResult {
  readonly part: string;
  readonly #result: Extract<Result, { kind: 'pictures' }>;
  readonly #overwrite: boolean;
  readonly #lock: ResultLock;
  #ended = false;

  private constructor(
    result: Extract<Result, { kind: 'pictures' }>,
    part: string,
    lock: ResultLock,
    overwrite: boolean,
  ) {
    this.#result = result;
    this.part = part;
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
      checkPictures(input, result, options.overwrite);
      const place = path.join(folder, path.basename(label));
      const lock = attempt(label, () => ResultLock.take(place));
      const part = hiddenName(place, `-${randomBytes(6).toString('hex')}.part`);
      try {
        attempt(label, () => {
          removeLeftovers(place);
          mkdirSync(part);
        });
      } catch (error) {
        lock.release();
        throw error;
      }
      return new ResultPictures(result, part, lock, options.overwrite);
    } catch (error) {
      if (isNew) rmSync(folder, { recursive: true, force: true });
      throw error;
    }
  }

  publish(): void {
    try {
      attempt(this.#result.label, () => {
        for (const name of readdirSync(this.part)) this.#put(name);
      });
    } finally {
      this.discard();
    }
  }

  discard(): void {
    if (this.#ended) return;
    this.#ended = true;
    rmSync(this.part, { recursive: true, force: true });
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
