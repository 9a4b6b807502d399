import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, statSync, unlinkSync, utimesSync, writeSync } from 'node:fs';
import { hostname } from 'node:os';
import path from 'node:path';
import { AppError } from '../errors.ts';

/** A run says this often that it is alive; after the second time it counts as dead on other machines of a shared folder. */
const ALIVE_INTERVAL_MS = 10_000;
const DEAD_AFTER_MS = 60_000;

interface Owner {
  readonly pid: number;
  readonly host: string;
}

/**
 * One run for one result: a hidden file in the result's folder, created in one step (O_EXCL). A run that was killed leaves it
 * behind; the next one sees that its process is gone and takes it over.
 */
export class ResultLock {
  readonly #file: string;
  readonly #timer: NodeJS.Timeout;

  private constructor(file: string) {
    this.#file = file;
    this.#timer = setInterval(() => touch(file), ALIVE_INTERVAL_MS);
    this.#timer.unref();
  }

  /** @throws AppError file.unwritable when another run writes this result, or the folder takes no file */
  static take(result: string): ResultLock {
    const file = lockName(result);
    if (!create(file)) {
      const owner = ownerOf(file);
      if (owner !== undefined && isAlive(owner, file)) throw inUse(result, file, owner);
      // Of two runs that find a dead one's lock, only one gets to create the new one.
      remove(file);
      if (!create(file)) throw inUse(result, file, ownerOf(file));
    }
    return new ResultLock(file);
  }

  /** Idempotent. */
  release(): void {
    clearInterval(this.#timer);
    const owner = ownerOf(this.#file);
    if (owner?.pid === process.pid && owner.host === hostname()) remove(this.#file);
  }
}

/** Short whatever the result is called: a name of 255 bytes has no room for an addition. */
export function hiddenName(result: string, ending: string): string {
  const hash = createHash('sha256').update(path.basename(result)).digest('hex').slice(0, 16);
  return path.join(path.dirname(result), `.flashvsr-${hash}${ending}`);
}

const lockName = (result: string): string => hiddenName(result, '.lock');

function create(file: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'wx', 0o644);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  try {
    writeSync(descriptor, JSON.stringify({ pid: process.pid, host: hostname() } satisfies Owner));
  } finally {
    closeSync(descriptor);
  }
  return true;
}

function ownerOf(file: string): Owner | undefined {
  try {
    const { pid, host } = JSON.parse(readFileSync(file, 'utf8')) as Partial<Owner>;
    return typeof pid === 'number' && typeof host === 'string' ? { pid, host } : undefined;
  } catch {
    return undefined;
  }
}

function isAlive({ pid, host }: Owner, file: string): boolean {
  if (host !== hostname()) return ageMs(file) < DEAD_AFTER_MS;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: a process of another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function ageMs(file: string): number {
  try {
    return Date.now() - statSync(file).mtimeMs;
  } catch {
    return Infinity;
  }
}

function touch(file: string): void {
  try {
    const now = new Date();
    utimesSync(file, now, now);
  } catch {
    // The folder has gone; writing the result will say so.
  }
}

function remove(file: string): void {
  try {
    unlinkSync(file);
  } catch {
    // Another run was faster.
  }
}

function inUse(result: string, lock: string, owner: Owner | undefined): AppError {
  const by = owner === undefined ? '' : ` (process ${owner.pid} on ${owner.host})`;
  return new AppError('file.unwritable', `Another run is writing ${result} at this moment${by}.`, {
    context: { file: result, lock, ...owner },
    remedy: `Wait until it ends, or give another name. If no such run exists, remove ${lock}.`,
  });
}
