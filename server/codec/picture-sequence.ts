import type { Dictionary, Stream } from 'node-av/lib';
import type { VideoInfo } from './file-input.ts';
import type { PictureLook } from './file-pictures.ts';
import { FramePicture } from './frame-picture.ts';
import { TICKS_PER_PICTURE, VideoReader, type FilmSource, type ReadItem } from './video-reader.ts';
import { unreadable } from './file-input.ts';

/** Numbered pictures, or those of a folder, as one film. All have the size of the first. */
export class PictureSequence implements FilmSource {
  readonly file: string;
  readonly info: VideoInfo;
  readonly covers: ReadonlyMap<number, Buffer> = new Map();
  readonly notices: string[] = [];
  damagedPackets = 0;
  readonly #files: readonly string[];
  readonly #first: VideoReader;

  private constructor(label: string, files: readonly string[], first: VideoReader, framesPerSecond: number) {
    this.file = label;
    this.#files = files;
    this.#first = first;
    // A clock of milliseconds of a picture: whole numbers for 23.976, too.
    const timeBase = { num: 1000, den: Math.round(framesPerSecond * 1000) };
    this.info = { ...first.info, timeBase, framesPerSecond, estimatedFrames: files.length };
  }

  /** @param label what the user wrote, for messages @throws AppError file.unreadable */
  static async open(label: string, files: readonly string[], framesPerSecond: number): Promise<PictureSequence> {
    const [file] = files;
    if (file === undefined) throw unreadable(label, 'there is no picture');
    return new PictureSequence(label, files, await VideoReader.open(file, 1), framesPerSecond);
  }

  get video(): Stream {
    return this.#first.video;
  }

  get streams(): readonly Stream[] {
    return this.#first.streams;
  }

  get metadata(): Dictionary | null {
    return this.#first.metadata;
  }

  get look(): PictureLook {
    return this.#first.look;
  }

  async *read(): AsyncGenerator<ReadItem, void, undefined> {
    for (const [index, file] of this.#files.entries()) {
      const reader = index === 0 ? this.#first : await VideoReader.open(file, 1);
      try {
        yield this.#item(await onePicture(reader), index);
      } finally {
        if (index > 0) await reader.close();
      }
    }
  }

  async close(): Promise<void> {
    await this.#first.close();
  }

  #item(picture: FramePicture, index: number): ReadItem {
    const { width, height } = this.info;
    if (picture.width !== width || picture.height !== height) {
      const sizes = `${picture.width}x${picture.height}, the first one ${width}x${height}`;
      picture.release();
      throw unreadable(this.#files[index] ?? this.file, `this picture is ${sizes}; a sequence has one size`);
    }
    const mediaTime = index * TICKS_PER_PICTURE;
    const numbered = new FramePicture(picture.frame, picture.colour, mediaTime, picture.trace, () => picture.release());
    return { type: 'picture', picture: numbered, pts: BigInt(index), duration: 1n };
  }
}

async function onePicture(reader: VideoReader): Promise<FramePicture> {
  for await (const item of reader.read()) {
    if (item.type === 'picture') return item.picture;
    item.packet.free();
  }
  throw unreadable(reader.file, 'it has no picture');
}

export interface PictureGroup {
  readonly size: string;
  readonly files: readonly string[];
}

/** Neighbours of one size together, in order; only headers are read. @throws AppError file.unreadable with the picture's name */
export async function picturesBySize(files: readonly string[]): Promise<PictureGroup[]> {
  const groups: { readonly size: string; readonly files: string[] }[] = [];
  for (const file of files) {
    const reader = await VideoReader.open(file, 1);
    const size = `${reader.info.width}x${reader.info.height}`;
    await reader.close();
    const last = groups.at(-1);
    if (last?.size === size) last.files.push(file);
    else groups.push({ size, files: [file] });
  }
  return groups;
}
