import { createHash, randomBytes } from 'node:crypto';
import {
  closeSync,
  linkSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { hostname, uptime } from 'node:os';
import path from 'node:path';
import { AppError } from '../errors.ts';

/** A run says this often that it is alive; after the second time it counts as dead on other machines of a shared folder. */
const ALIVE_INTERVAL_MS = 10_000;
const DEAD_AFTER_MS = 60_000;
/** A lock without an owner is one that is being written, on file systems where that takes two steps; or its run was killed there. */
const WRITTEN_AFTER_MS = 10_000;
/** Of the clock and of times of files. */
const BOOT_TOLERANCE_MS = 5_000;

interface Owner {
  readonly pid: number;
  readonly host: string;
}

/**
 * One run for one result: a hidden file in the result's folder, created in one step with its owner. A run that was killed leaves it
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
      if (isAlive(owner, file)) throw inUse(result, file, owner);
      removeDead(file, owner);
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

/** @returns false when there is one */
function create(file: string): boolean {
  const owner = JSON.stringify({ pid: process.pid, host: hostname() } satisfies Owner);
  const own = besides(file);
  writeFileSync(own, owner, { mode: 0o644, flag: 'wx' });
  try {
    // The name appears together with the owner: a run that looks at this moment must not take the lock for a dead one's.
    linkSync(own, file);
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST') return false;
    // File systems without hard links (FAT, some network shares).
    return createInPlace(file, owner);
  } finally {
    remove(own);
  }
}

function createInPlace(file: string, owner: string): boolean {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'wx', 0o644);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false;
    throw error;
  }
  try {
    writeSync(descriptor, owner);
  } finally {
    closeSync(descriptor);
  }
  return true;
}

/** Of several runs that find a dead one's lock, one removes it; what another has created meanwhile is put back. */
function removeDead(file: string, dead: Owner | undefined): void {
  const moved = besides(file);
  try {
    renameSync(file, moved);
  } catch {
    return; // Another run was faster.
  }
  const found = ownerOf(moved);
  if (found?.pid !== dead?.pid || found?.host !== dead?.host) {
    try {
      linkSync(moved, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') return renameSync(moved, file);
    }
  }
  remove(moved);
}

function besides(file: string): string {
  return `${file}-${randomBytes(6).toString('hex')}`;
}

function ownerOf(file: string): Owner | undefined {
  try {
    const { pid, host } = JSON.parse(readFileSync(file, 'utf8')) as Partial<Owner>;
    return typeof pid === 'number' && typeof host === 'string' ? { pid, host } : undefined;
  } catch {
    return undefined;
  }
}

function isAlive(owner: Owner | undefined, file: string): boolean {
  if (owner === undefined) return ageMs(file) < WRITTEN_AFTER_MS;
  const { pid, host } = owner;
  if (host !== hostname()) return ageMs(file) < DEAD_AFTER_MS;
  // A run touches its lock: one that is older than this system's start has the number of another process now.
  if (ageMs(file) > uptime() * 1000 + BOOT_TOLERANCE_MS) return false;
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
