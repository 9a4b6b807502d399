import { readdirSync, statfsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Packet } from 'node-av/lib';
import { AppError } from '../errors.ts';
import type { FileCodec } from './containers.ts';
import { readMemory, writeMemory } from './memory-file.ts';
import { SegmentWriter, readSegment, segmentHead, type KeptPacket } from './segment-file.ts';

/**
 * Frames of a segment. H264, HEVC: the encoders' usual distance of keyframes, so that a segment's own costs nothing (960 frames of a
 * talking head, 640x360: as much time, 2 % fewer bytes, 0.1 dB less). SVT-AV1 loses 7 % by 250 and 2 % by these.
 */
export const SEGMENT_FRAMES: Readonly<Record<FileCodec, number>> = { h264: 250, hevc: 250, av1: 1000 };
/** What is kept twice, in the result and here, must leave as much room as it takes, and this. */
const LEAST_FREE_BYTES = 64 * 2 ** 20;

/** Of the model's memory; a damaged segment costs one segment more, not all of them. */
const MEMORIES = 2;

const UNFINISHED = 'segment.unfinished';
const UNFINISHED_MEMORY = 'memory.unfinished';
const NAME = /^segment-(\d{6})-(\d+)$/;
const MEMORY_NAME = /^memory-(\d{6})$/;

/** Frames in finished segments of a folder, by their names. */
export function framesInSegments(folder: string): number {
  return segmentsIn(folder).reduce((sum, { frames }) => sum + frames, 0);
}

/**
 * Encoded pictures of a film that is not complete yet, in finished segments: what a run that was stopped leaves for the next one.
 * Nothing is lost without them, so that a disk without room for them ends the keeping and not the job.
 */
export class SegmentStore {
  readonly notices: string[] = [];
  readonly #folder: string;
  /** Of the run before. */
  readonly #kept: Kept[];
  #memory: Uint8Array | undefined;
  readonly #freeBytes: (folder: string) => number;
  #head = Buffer.alloc(0);
  #next: number;
  #bytes = 0;
  #writer: SegmentWriter | undefined;
  #stopped = false;
  /** Of the segment that is being written. */
  #newMemory: Uint8Array | undefined;
  /** Of a model's memory on the disk. */
  #memoryBytes = 0;

  private constructor(folder: string, kept: Kept[], freeBytes: (folder: string) => number) {
    this.#folder = folder;
    this.#kept = kept;
    this.#next = kept.length + 1;
    this.#freeBytes = freeBytes;
  }

  /** Reads all that is there: the first damaged segment and what lies behind it is removed. @param folder exists */
  static async open(folder: string, freeBytes: (folder: string) => number = freeBytesOf): Promise<SegmentStore> {
    const kept: Kept[] = [];
    let whole = true;
    for (const [index, { name, number, frames }] of segmentsIn(folder).entries()) {
      const file = path.join(folder, name);
      const found: Awaited<ReturnType<typeof segmentHead>> =
        whole && number === index + 1 ? await segmentHead(file) : undefined;
      whole = found?.packets === frames;
      if (found !== undefined && whole) kept.push({ file, head: found.head, frames });
      else await rm(file, { force: true });
    }
    return new SegmentStore(folder, kept, freeBytes);
  }

  /** Of the run before. */
  get keptFrames(): number {
    return this.#kept.reduce((sum, { frames }) => sum + frames, 0);
  }

  /** False once the disk is too full. */
  get isKeeping(): boolean {
    return !this.#stopped;
  }

  /** What the model remembered behind the last kept picture. Absent: nothing is kept, or needMemory() was not called. */
  get memory(): Uint8Array | undefined {
    return this.#memory;
  }

  /** For a model that remembers, before anything else: segments behind the last one whose memory is there are removed. */
  async needMemory(): Promise<void> {
    for (let last = this.#kept.at(-1); last !== undefined; last = this.#kept.at(-1)) {
      this.#memory = await readMemory(path.join(this.#folder, memoryName(this.#kept.length)));
      if (this.#memory !== undefined) break;
      await rm(last.file, { force: true });
      this.#kept.pop();
    }
    this.#next = this.#kept.length + 1;
  }

  /**
   * Before anything is added.
   * @param head 32 bytes that say which encoder is at work
   * @throws AppError file.unwritable when the kept segments are of another one
   */
  useEncoder(head: Buffer<ArrayBuffer>, file: string): void {
    this.#head = head;
    if (this.#kept.every((segment) => segment.head.equals(head))) return;
    throw new AppError(
      'file.unwritable',
      `The frames kept of ${file} were encoded in another way (another version of the encoder?).`,
      {
        context: { file },
        remedy: 'Start again with --overwrite, which removes them.',
      },
    );
  }

  /** Kept packets in decoding order. */
  async *packets(): AsyncGenerator<KeptPacket, void, undefined> {
    for (const { file } of this.#kept) yield* readSegment(file);
  }

  async add(packet: Packet): Promise<void> {
    await this.#try(async () => {
      this.#writer ??= await SegmentWriter.create(path.join(this.#folder, UNFINISHED), this.#head);
      await this.#writer.add(packet);
    });
  }

  /** What the model remembers behind the segment that is being written, before endSegment(). */
  remember(memory: Uint8Array): void {
    this.#newMemory = memory;
  }

  /** The packets added since the last one are a segment. */
  async endSegment(): Promise<void> {
    await this.#try(async () => {
      await this.#keepMemory();
      await this.#writer?.finish((packets) => path.join(this.#folder, nameOf(this.#next, packets)));
      this.#bytes += this.#writer?.bytes ?? 0;
      this.#writer = undefined;
      this.#next += 1;
      if (this.#freeBytes(this.#folder) < this.#bytes + this.#memoryBytes + LEAST_FREE_BYTES)
        await this.#stop('there is too little room for it');
    });
  }

  /** Idempotent; what is not a finished segment is removed. */
  async close(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.discard().catch(() => undefined);
  }

  /** Before its segment: one that is there has its memory. */
  async #keepMemory(): Promise<void> {
    const memory = this.#newMemory;
    if (memory === undefined) return;
    this.#newMemory = undefined;
    this.#memoryBytes = memory.length;
    const place = (name: string): string => path.join(this.#folder, name);
    await writeMemory(place(memoryName(this.#next)), place(UNFINISHED_MEMORY), memory);
    await rm(place(memoryName(this.#next - MEMORIES)), { force: true });
  }

  async #try(action: () => Promise<void>): Promise<void> {
    if (this.#stopped) return;
    try {
      await action();
    } catch (error) {
      await this.#stop((error as Error).message);
    }
  }

  /** Gives the room back to the result. */
  async #stop(reason: string): Promise<void> {
    this.#stopped = true;
    this.notices.push(`Finished frames were not kept for --resume: ${reason}.`);
    await this.close();
    const names = namesIn(this.#folder).filter(
      (name) => NAME.test(name) || MEMORY_NAME.test(name) || name === UNFINISHED_MEMORY,
    );
    for (const name of names) await rm(path.join(this.#folder, name), { force: true }).catch(() => undefined);
  }
}

interface Kept {
  readonly file: string;
  readonly head: Buffer;
  readonly frames: number;
}

function memoryName(segment: number): string {
  return `memory-${String(segment).padStart(6, '0')}`;
}

function nameOf(number: number, frames: number): string {
  return `segment-${String(number).padStart(6, '0')}-${frames}`;
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

function segmentsIn(folder: string): { name: string; number: number; frames: number }[] {
  return namesIn(folder)
    .map((name) => ({ name, parts: NAME.exec(name) }))
    .flatMap(({ name, parts }) =>
      parts === null ? [] : [{ name, number: Number(parts[1]), frames: Number(parts[2]) }],
    )
    .sort((a, b) => a.number - b.number);
}

function freeBytesOf(folder: string): number {
  try {
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize;
  } catch {
    return Infinity;
  }
}
