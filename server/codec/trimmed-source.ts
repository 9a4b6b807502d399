import type { Stream } from 'node-av/lib';
import { unreadable } from './file-input.ts';
import { movedChapters, type Chapter } from './tracks/chapters.ts';
import type { FilmSource, ReadItem } from './video-reader.ts';

/** A part of a film, whose clock starts at 0 again. What lies in front of it is decoded and thrown away. */
export class TrimmedSource implements FilmSource {
  readonly file: string;
  readonly info: FilmSource['info'];
  readonly #source: FilmSource;
  readonly #startSeconds: number;
  readonly #endSeconds: number;

  /** @param endSeconds the first that is not in it; Infinity: to the end */
  constructor(source: FilmSource, startSeconds: number, endSeconds: number) {
    this.#source = source;
    this.#startSeconds = startSeconds;
    this.#endSeconds = endSeconds;
    this.file = source.file;
    const { framesPerSecond, estimatedFrames } = source.info;
    const all = estimatedFrames ?? Infinity;
    const wanted = Math.ceil(Math.min(endSeconds * framesPerSecond, all) - startSeconds * framesPerSecond);
    this.info = { ...source.info, estimatedFrames: Number.isFinite(wanted) && wanted > 0 ? wanted : undefined };
  }

  get video(): Stream {
    return this.#source.video;
  }

  get streams(): readonly Stream[] {
    return this.#source.streams;
  }

  get covers(): ReadonlyMap<number, Buffer> {
    return this.#source.covers;
  }

  get metadata(): FilmSource['metadata'] {
    return this.#source.metadata;
  }

  get chapters(): readonly Chapter[] {
    return movedChapters(this.#source.chapters, -this.#startSeconds, this.#endSeconds - this.#startSeconds);
  }

  get look(): FilmSource['look'] {
    return this.#source.look;
  }

  get damagedPackets(): number {
    return this.#source.damagedPackets;
  }

  get notices(): readonly string[] {
    return this.#source.notices;
  }

  async *read(): AsyncGenerator<ReadItem, void, undefined> {
    let pictures = 0;
    for await (const item of this.#source.read()) {
      const at = secondsOf(item, this.info.timeBase);
      if (item.type === 'picture') {
        // Pictures come in the order of their times; sound may lie a little behind them in the file, and is cut with them.
        if (at >= this.#endSeconds) {
          item.picture.release();
          break;
        }
        if (at < this.#startSeconds) {
          item.picture.release();
          continue;
        }
        pictures += 1;
        yield this.#moved(item);
      } else if (at < this.#startSeconds || at >= this.#endSeconds) item.packet.free();
      else yield this.#moved(item);
    }
    if (pictures === 0)
      throw unreadable(this.file, `it has no picture between ${this.#startSeconds} s and the end of --trim`);
  }

  close(): Promise<void> {
    return this.#source.close();
  }

  #moved(item: ReadItem): ReadItem {
    const { num, den } = item.type === 'picture' ? this.info.timeBase : item.stream.timeBase;
    const ticks = BigInt(Math.round((this.#startSeconds * den) / num));
    if (item.type === 'picture') return { ...item, pts: item.pts > ticks ? item.pts - ticks : 0n };
    item.packet.pts -= ticks;
    item.packet.dts -= ticks;
    return item;
  }
}

function secondsOf(item: ReadItem, timeBase: FilmSource['info']['timeBase']): number {
  if (item.type === 'picture') return (Number(item.pts) * timeBase.num) / timeBase.den;
  const { num, den } = item.stream.timeBase;
  return (Number(item.packet.pts) * num) / den;
}
