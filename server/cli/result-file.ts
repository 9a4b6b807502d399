import { randomBytes } from 'node:crypto';
import {
  accessSync,
  chmodSync,
  closeSync,
  constants,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  realpathSync,
  renameSync,
  rmSync,
  statfsSync,
  statSync,
  writeSync,
  type BigIntStats,
} from 'node:fs';
import path from 'node:path';
import { STANDARD } from '../codec/standard-streams.ts';
import { AppError } from '../errors.ts';
import { isAddress } from './input-name.ts';
import { checkKept, keepPlace, settle, type KeepPlace } from './kept-folder.ts';
import { hiddenName, ResultLock } from './result-lock.ts';

/** What a result may at least need; a folder with less is full. */
const LEAST_FREE_BYTES = 2 ** 20;
/** Written and taken back before the job, since quotas and read-only volumes show themselves only then. */
const TRIAL_BYTES = 64 * 1024;

export interface ResultOptions {
  readonly overwrite: boolean;
  /** What a run that was stopped has finished is used. */
  readonly resume?: boolean | undefined;
  /** For tests: bytes free in a folder. */
  readonly freeBytes?: (folder: string) => number;
}

/**
 * A result before it is complete: a hidden file of a unique name in the result's folder, so that the result appears in one step, and
 * so that no name that a person might use is ever written or removed. Everything that would make the last step fail is checked
 * at the start, before hours of work.
 */
export class ResultFile {
  /** Where the result goes: links followed. */
  readonly file: string;
  /** Exists, empty, from the start. */
  readonly part: string;
  readonly keep: KeepPlace;
  readonly notices: readonly string[];
  /** Finished frames that stay for another run; 0 before discard() and after publish(). */
  keptFrames = 0;
  readonly #asked: string;
  readonly #lock: ResultLock;
  readonly #overwrite: boolean;
  #ended = false;

  private constructor(
    asked: string,
    { file, part, keep, notices }: Pick<ResultFile, 'file' | 'part' | 'keep' | 'notices'>,
    lock: ResultLock,
    overwrite: boolean,
  ) {
    this.#asked = asked;
    this.file = file;
    this.part = part;
    this.keep = keep;
    this.notices = notices;
    this.#lock = lock;
    this.#overwrite = overwrite;
  }

  /** What claim() checks, without claiming. */
  static check(input: string, output: string, overwrite: boolean): void {
    checkNames(input, output, overwrite);
  }

  /** @throws AppError file.unreadable for the input, file.unwritable for the result; nothing is left behind then */
  static claim(input: string, output: string, options: ResultOptions): ResultFile {
    const file = checkNames(input, output, options.overwrite);
    checkRoom(output, path.dirname(file), options);
    const lock = attempt(output, () => ResultLock.take(file));
    const part = hiddenName(file, `-${randomBytes(6).toString('hex')}.part`);
    const keep = keepPlace(file, options.resume);
    let notices: readonly string[] = [];
    try {
      attempt(output, () => {
        removeLeftovers(file);
        notices = checkKept(output, keep, options);
        createEmpty(part);
      });
    } catch (error) {
      rmSync(part, { force: true });
      lock.release();
      throw error;
    }
    return new ResultFile(output, { file, part, keep, notices }, lock, options.overwrite);
  }

  /** The finished part becomes the result, in one step. @throws AppError file.unwritable; nothing is left behind */
  publish(): void {
    try {
      attempt(this.#asked, () => {
        // Before the name, and before the finished segments go: after a power failure a result that is there is whole.
        sync(this.part);
        this.#put();
      });
      rmSync(this.keep.folder, { recursive: true, force: true });
    } finally {
      this.discard();
    }
  }

  /** Removes what is not finished, and finished frames that are not worth another run. Idempotent, and without effect after publish(). */
  discard(): void {
    if (this.#ended) return;
    this.#ended = true;
    rmSync(this.part, { force: true });
    this.keptFrames = settle(this.keep);
    this.#lock.release();
  }

  #put(): void {
    const old = stat(this.file);
    if (this.#overwrite) {
      if (old !== undefined) chmodSync(this.part, Number(old.mode) & 0o777);
      renameSync(this.part, this.file);
      return;
    }
    try {
      // Unlike rename, a link never replaces a file that appeared during the job.
      linkSync(this.part, this.file);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === 'EEXIST') throw existsAlready(this.#asked);
      // File systems without hard links (FAT, some network shares).
      if (stat(this.file) !== undefined) throw existsAlready(this.#asked);
      renameSync(this.part, this.file);
    }
  }
}

/** @returns the path that the result is written to, links followed */
function checkNames(input: string, output: string, overwrite: boolean): string {
  const isPath = !isAddress(input) && input !== STANDARD;
  const source = isPath ? stat(input) : undefined;
  if (isPath && source === undefined) {
    throw new AppError('file.unreadable', `${input} does not exist.`, { context: { file: input } });
  }
  const old = attempt(output, () => stat(output));
  if (old !== undefined && source !== undefined && old.ino === source.ino && old.dev === source.dev) {
    throw unwritable(
      output,
      'it is the same file as the input, which is never changed',
      'Give the result another name.',
    );
  }
  checkFolder(output);
  if (old === undefined) {
    if (isLink(output)) throw unwritable(output, 'it is a link to a file that does not exist', 'Remove the link.');
    return path.resolve(output);
  }
  if (old.isDirectory()) {
    throw unwritable(
      output,
      'it is a folder',
      'Give the name of a file, or end it in / to put the result of a file into it.',
    );
  }
  if (!old.isFile()) throw unwritable(output, 'it is not a plain file', 'Give the name of a file.');
  if (!overwrite) throw existsAlready(output);
  attempt(output, () => accessSync(output, constants.W_OK));
  return realpathSync(output);
}

/** @param label the result as the user named it */
export function checkRoom(label: string, folder: string, options: ResultOptions): void {
  const free = (options.freeBytes ?? freeBytes)(folder);
  if (free < LEAST_FREE_BYTES) throw unwritable(label, `the disk of ${folder} is full`, 'Make room on it.');
}

/** Of a file. @param label the result as the user named it */
export function checkFolder(file: string, label = file): void {
  const folder = path.dirname(path.resolve(file));
  const found = attempt(label, () => stat(folder));
  if (found === undefined) throw unwritable(label, `the folder ${folder} does not exist`, 'Create it first.');
  if (!found.isDirectory()) throw unwritable(label, `${folder} is not a folder`, 'Give a name in a folder.');
}

/**
 * The folder of a result, and those above it. One at a time: Node's `recursive` calls a read-only volume a folder that does not exist.
 * @throws AppError file.unwritable
 */
export function makeFolderOf(file: string): void {
  const missing: string[] = [];
  for (let folder = path.dirname(path.resolve(file)); !attempt(file, () => stat(folder))?.isDirectory();) {
    missing.unshift(folder);
    folder = path.dirname(folder);
  }
  for (const folder of missing)
    attempt(file, () => {
      try {
        mkdirSync(folder);
      } catch (error) {
        const found = stat(folder);
        if (found === undefined) throw error;
        // Another run was faster.
        if (!found.isDirectory()) throw unwritable(file, `${folder} is not a folder`, 'Give a name in a folder.');
      }
    });
}

/** Of runs that were killed: the lock says that none is at work, and the hash in the name that they belong to this result. */
function removeLeftovers(file: string): void {
  const begin = path.basename(hiddenName(file, '-'));
  const folder = path.dirname(file);
  for (const name of readdirSync(folder)) {
    if (name.startsWith(begin) && name.endsWith('.part'))
      rmSync(path.join(folder, name), { recursive: true, force: true });
  }
}

function sync(file: string): void {
  const descriptor = openSync(file, 'r+');
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

function createEmpty(part: string): void {
  const trial = openSync(part, 'wx', 0o666);
  try {
    writeSync(trial, Buffer.alloc(TRIAL_BYTES));
  } finally {
    closeSync(trial);
  }
  // A second, empty one: what libav opens must not begin with the trial's bytes where it seeks.
  rmSync(part);
  closeSync(openSync(part, 'wx', 0o666));
}

function stat(file: string): BigIntStats | undefined {
  try {
    return statSync(file, { bigint: true });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw error;
  }
}

function isLink(file: string): boolean {
  return lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
}

function freeBytes(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return Infinity;
  }
}

const REASONS: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
  ENAMETOOLONG: ['its name is too long for this file system', 'Give a shorter name; most take 255 bytes.'],
  EACCES: ['no permission', 'Give a name in a folder that you may write to.'],
  EPERM: ['no permission', 'Give a name in a folder that you may write to.'],
  EROFS: ['the volume is read-only', 'Give a name on another volume.'],
  ENOSPC: ['the disk is full', 'Make room on it.'],
  EDQUOT: ['the quota on this disk is used up', 'Make room on it.'],
  EISDIR: ['it is a folder', 'Give the name of a file in it.'],
  ELOOP: ['its links point at each other', 'Give another name.'],
  EINVAL: ['this system does not take the name', 'Give another name.'],
};

/** Turns the system's errors into sentences about the result. */
export function attempt<T>(output: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    if (error instanceof AppError) throw error;
    const { code = '', message } = error as NodeJS.ErrnoException;
    const [reason, remedy] = REASONS[code] ?? [message, 'Check the folder, its permissions and the free space.'];
    throw unwritable(output, reason, remedy, error);
  }
}

export function existsAlready(output: string): AppError {
  return new AppError('file.unwritable', `${output} exists already.`, {
    context: { file: output },
    remedy: 'Give another name, or --overwrite.',
  });
}

export function unwritable(output: string, reason: string, remedy: string, cause?: unknown): AppError {
  return new AppError('file.unwritable', `${output} cannot be written: ${reason}.`, {
    context: { file: output, reason },
    remedy,
    cause,
  });
}
