import { readdirSync, statfsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import path from 'node:path';
import type { Packet } from 'node-av/lib';
import { AppError } from '../errors.ts';
import type { FileCodec } from './containers.ts';
import { SegmentWriter, readSegment, segmentHead, type KeptPacket } from './segment-file.ts';

/**
 * Frames of a segment. H264, HEVC: the encoders' usual distance of keyframes, so that a segment's own costs nothing (960 frames of a
 * talking head, 640x360: as much time, 2 % fewer bytes, 0.1 dB less). SVT-AV1 loses 7 % by 250 and 2 % by these.
 */
export const SEGMENT_FRAMES: Readonly<Record<FileCodec, number>> = { h264: 250, hevc: 250, av1: 1000 };
/** What is kept twice, in the result and here, must leave as much room as it takes, and this. */
const LEAST_FREE_BYTES = 64 * 2 ** 20;

const UNFINISHED = 'segment.unfinished';
const NAME = /^segment-(\d{6})-(\d+)$/;

/** Frames in finished segments of a folder, by their names. */
export function framesInSegments(folder: string): number {
  return segmentsIn(folder).reduce((sum, { frames }) => sum + frames, 0);
}

/**
 * Encoded pictures of a film that is not complete yet, in finished segments: what a run that was stopped leaves for the next one.
 * Nothing is lost without them, so that a disk without room for them ends the keeping and not the job.
 */
export class SegmentStore {
  /** Of the run before. */
  readonly keptFrames: number;
  readonly notices: string[] = [];
  readonly #folder: string;
  readonly #kept: readonly { readonly file: string; readonly head: Buffer }[];
  readonly #freeBytes: (folder: string) => number;
  #head = Buffer.alloc(0);
  #next: number;
  #bytes = 0;
  #writer: SegmentWriter | undefined;
  #stopped = false;

  private constructor(
    folder: string,
    kept: readonly { readonly file: string; readonly head: Buffer; readonly frames: number }[],
    freeBytes: (folder: string) => number,
  ) {
    this.#folder = folder;
    this.#kept = kept;
    this.#next = kept.length + 1;
    this.keptFrames = kept.reduce((sum, { frames }) => sum + frames, 0);
    this.#freeBytes = freeBytes;
  }

  /** Reads all that is there: the first damaged segment and what lies behind it is removed. @param folder exists */
  static async open(folder: string, freeBytes: (folder: string) => number = freeBytesOf): Promise<SegmentStore> {
    const kept: { file: string; head: Buffer; frames: number }[] = [];
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

  /**
   * Before anything else.
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

  /** The packets added since the last one are a segment. */
  async endSegment(): Promise<void> {
    await this.#try(async () => {
      await this.#writer?.finish((packets) => path.join(this.#folder, nameOf(this.#next, packets)));
      this.#bytes += this.#writer?.bytes ?? 0;
      this.#writer = undefined;
      this.#next += 1;
      if (this.#freeBytes(this.#folder) < this.#bytes + LEAST_FREE_BYTES)
        await this.#stop('there is too little room for it');
    });
  }

  /** Idempotent; what is not a finished segment is removed. */
  async close(): Promise<void> {
    const writer = this.#writer;
    this.#writer = undefined;
    await writer?.discard().catch(() => undefined);
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
    for (const { name } of segmentsIn(this.#folder))
      await rm(path.join(this.#folder, name), { force: true }).catch(() => undefined);
  }
}

function nameOf(number: number, frames: number): string {
  return `segment-${String(number).padStart(6, '0')}-${frames}`;
}

function segmentsIn(folder: string): { name: string; number: number; frames: number }[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names
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
