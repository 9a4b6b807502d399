import { readdir, rmdir, stat, unlink } from 'node:fs/promises';
import path from 'node:path';
import { broadcastName } from '../broadcast/name.ts';
import type { OutputOf } from '../config/config.ts';
import { HLS_PLAYLIST, HLS_SEGMENT, hlsFolder } from './hls-files.ts';
import { diskError } from './muxer/recording-file.ts';

export interface HlsSweeperOptions {
  /** Wall time, as the disk's. */
  readonly now?: () => number;
  readonly everyMs?: number;
  /** A disk that takes longer hangs. */
  readonly patienceMs?: number;
}

const EVERY_MS = 30_000;
const PATIENCE_MS = 15_000;
/** A viewer who joined at the end of a broadcast has the whole playlist in front, and may have paused. */
const PLAYLISTS = 2;

/**
 * Removes what HLS outputs have written of broadcasts that have ended: names come and go, and a disk must not fill with them. Nothing is
 * removed before its age, nothing of a broadcast that an output is at work on, and nothing but playlists and segments.
 */
export class HlsSweeper {
  readonly #now: () => number;
  readonly #everyMs: number;
  readonly #patienceMs: number;
  /** By name. */
  readonly #outputs = new Map<string, OutputOf<'hls'>>();
  /** Folders of broadcasts that are written to: how many runs. */
  readonly #held = new Map<string, number>();
  /** One at a time: a disk that hangs takes one thread of Node's, and no more. */
  #sweeping: Promise<void> | undefined;
  /** The folder of which it removes files. */
  #removing: string | undefined;
  #timer: NodeJS.Timeout | undefined;

  constructor({ now = Date.now, everyMs = EVERY_MS, patienceMs = PATIENCE_MS }: HlsSweeperOptions = {}) {
    this.#now = now;
    this.#everyMs = everyMs;
    this.#patienceMs = patienceMs;
  }

  /** From now on, and what earlier runs of the server have left. */
  watch(output: OutputOf<'hls'>): void {
    this.#outputs.set(output.name, output);
    this.#timer ??= setInterval(() => void this.sweep(), this.#everyMs).unref();
  }

  /**
   * Nothing of the folder is removed until release(). Resolves when nothing of it is being removed.
   * @throws AppError output.disk when the disk hangs
   */
  async hold(folder: string): Promise<void> {
    this.#held.set(folder, (this.#held.get(folder) ?? 0) + 1);
    if (this.#removing !== folder) return;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(diskError(folder, 'it hangs', undefined)), this.#patienceMs);
    });
    await Promise.race([this.#sweeping, late]).finally(() => clearTimeout(timer));
  }

  release(folder: string): void {
    const runs = (this.#held.get(folder) ?? 0) - 1;
    if (runs > 0) this.#held.set(folder, runs);
    else this.#held.delete(folder);
  }

  /** All outputs once; what cannot be read or removed is left for the next time. */
  sweep(): Promise<void> {
    this.#sweeping ??= this.#sweep().finally(() => (this.#sweeping = undefined));
    return this.#sweeping;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#outputs.clear();
  }

  async #sweep(): Promise<void> {
    for (const output of this.#outputs.values()) {
      const keepMs = 1000 * Math.max(output.keepSeconds, PLAYLISTS * output.window * output.segmentSeconds);
      for (const folder of await foldersOf(output)) await this.#look(folder, keepMs).catch(() => undefined);
    }
  }

  async #look(folder: string, keepMs: number): Promise<void> {
    const names = (await readdir(folder)).filter((name) => isOwn(name));
    const ages = await Promise.all(
      names.map(async (name) => this.#now() - (await stat(path.join(folder, name))).mtimeMs),
    );
    if (this.#held.has(folder) || names.length === 0 || Math.min(...ages) < keepMs) return;
    this.#removing = folder;
    try {
      // The playlist first: whoever comes now begins nothing.
      const sorted = names.sort((a, b) => Number(b === HLS_PLAYLIST) - Number(a === HLS_PLAYLIST));
      for (const name of sorted) await unlink(path.join(folder, name));
      // What other programs have put there stays, and the folder with it.
      await rmdir(folder);
    } finally {
      this.#removing = undefined;
    }
  }
}

/** Links are followed by none: they lead to somebody else's files. */
async function foldersOf(output: OutputOf<'hls'>): Promise<string[]> {
  if (output.broadcast !== '*') return [hlsFolder(output.folder, output.broadcast)];
  const entries = await readdir(path.resolve(output.folder), { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && broadcastName.safeParse(entry.name.replaceAll('~', '/')).success)
    .map(({ name }) => path.join(path.resolve(output.folder), name));
}

function isOwn(name: string): boolean {
  const whole = name.replace(/\.tmp$/, '');
  return whole === HLS_PLAYLIST || HLS_SEGMENT.test(whole);
}
