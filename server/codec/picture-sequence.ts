import type { Dictionary, Stream } from 'node-av/lib';
import type { VideoInfo } from './file-input.ts';
import type { PictureLook, PictureOptions } from './file-pictures.ts';
import { FramePicture } from './frame-picture.ts';
import { TICKS_PER_PICTURE, VideoReader, type FilmSource, type ReadItem } from './video-reader.ts';
import { unreadable } from './file-input.ts';

/** Numbered pictures, or those of a folder, as one film. All have the size of the first. */
export class PictureSequence implements FilmSource {
  readonly file: string;
  readonly info: VideoInfo;
  readonly covers: ReadonlyMap<number, Buffer> = new Map();
  readonly chapters = [];
  readonly notices: string[] = [];
  damagedPackets = 0;
  readonly #files: readonly string[];
  readonly #first: VideoReader;
  /** What was left out of the pictures: the words about the first file, and how many files. */
  readonly #losses = new Map<string, { readonly words: string; files: number }>();

  private constructor(label: string, files: readonly string[], first: VideoReader, framesPerSecond: number) {
    this.file = label;
    this.#files = files;
    this.#first = first;
    // A clock of milliseconds of a picture: whole numbers for 23.976, too.
    const timeBase = { num: 1000, den: Math.round(framesPerSecond * 1000) };
    this.info = { ...first.info, timeBase, framesPerSecond, estimatedFrames: files.length };
  }

  /** @param label what the user wrote, for messages @throws AppError file.unreadable */
  static async open(
    label: string,
    files: readonly string[],
    framesPerSecond: number,
    options: Pick<PictureOptions, 'maxBitDepth'> = {},
  ): Promise<PictureSequence> {
    const [file] = files;
    if (file === undefined) throw unreadable(label, 'there is no picture');
    return new PictureSequence(label, files, await VideoReader.open(file, 1, options), framesPerSecond);
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
      const { bitDepth } = this.look;
      const like = { maxBitDepth: bitDepth, minBitDepth: bitDepth };
      const reader = index === 0 ? this.#first : await VideoReader.open(file, 1, like);
      try {
        yield this.#item(await onePicture(reader), index);
        for (const words of reader.notices) this.#lost(file, words);
        if (!reader.isStill) this.#lost(file, `${file} moves: its first picture was taken.`);
      } finally {
        if (index > 0) await reader.close();
      }
    }
    for (const { words, files } of this.#losses.values())
      this.notices.push(files === 1 ? words : `${words} So it is with ${files} of the ${this.#files.length} pictures.`);
  }

  #lost(file: string, words: string): void {
    const what = words.replace(file, '');
    const known = this.#losses.get(what);
    if (known === undefined) this.#losses.set(what, { words, files: 1 });
    else known.files += 1;
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
