import { rename, writeFile } from 'node:fs/promises';
import { Codec, CodecContext, Packet, Rational, type Frame, type SoftwareScaleContext } from 'node-av/lib';
import { AppError } from '../errors.ts';
import type { Picture } from '../media/picture.ts';
import { setFrameColour, setFrameRgb } from './colour.ts';
import type { FilmWriter, PictureTiming } from './film-writer.ts';
import { FramePool, allocateFrame, frameOf } from './frame-picture.ts';
import { check } from './native.ts';
import { openScaleContext } from './scaler.ts';
import { stillFormatOf, type StillFormat } from './still-format.ts';

/** Where a picture goes. */
export interface PicturePlace {
  readonly file: string;
  /** Its ending chooses the format. */
  readonly name: string;
  /** Written first, then renamed, so that a file of the picture's name is complete whatever ends the process. */
  readonly temporary?: string;
}

/** Writes each picture as a file (.png, .jpg, …), each complete before the next one comes. */
export class PictureWriter implements FilmWriter {
  readonly notices: readonly string[];
  readonly damagedPackets = 0;
  width = 0;
  height = 0;
  readonly #label: string;
  readonly #fileOf: (index: number) => PicturePlace;
  readonly #scaler: SoftwareScaleContext = openScaleContext('bicubic', 1, true);
  readonly #packet = new Packet();
  #encoder:
    | { readonly context: CodecContext; readonly format: StillFormat; readonly deep: boolean; readonly frame: Frame }
    | undefined;
  #pool: FramePool | undefined;
  #closed = false;

  /**
   * @param label the result as the user named it, for messages
   * @param fileOf by the picture's number, from 0
   */
  constructor(label: string, fileOf: (index: number) => PicturePlace, notices: readonly string[] = []) {
    this.#label = label;
    this.#fileOf = fileOf;
    this.notices = notices;
    this.#packet.alloc();
  }

  passKept(): Promise<void> {
    return Promise.resolve();
  }

  /** The picture stays the caller's. @throws AppError file.unwritable */
  async write(picture: Picture, { index }: PictureTiming): Promise<void> {
    const { file, name, temporary } = this.#fileOf(index);
    const format = stillFormatOf(name);
    if (format === undefined) throw new AppError('internal', `${name} is no picture.`);
    const { context, frame } = this.#encoderFor(picture, format);
    const source = frameOf(picture, () => this.#framePool(picture));
    try {
      setFrameColour(source.frame, picture.colour);
      if (format.colour === undefined) setFrameRgb(frame);
      else setFrameColour(frame, format.colour);
      check(this.#scaler.scaleFrameSync(frame, source.frame), `Converting a picture for ${name}`, 'internal');
    } finally {
      source.done();
    }
    frame.pts = BigInt(index);
    check(context.sendFrameSync(frame), `Encoding ${name}`, 'internal');
    check(context.receivePacketSync(this.#packet), `Encoding ${name}`, 'internal');
    const data = Buffer.from(this.#packet.data ?? '');
    this.#packet.unref();
    try {
      await writeFile(temporary ?? file, data);
      if (temporary !== undefined) await rename(temporary, file);
    } catch (cause) {
      throw new AppError('file.unwritable', `${this.#label} cannot be written: ${(cause as Error).message}.`, {
        cause,
      });
    }
  }

  /** Pictures have no other tracks. */
  copy(packet: Packet): Promise<void> {
    packet.free();
    return Promise.resolve();
  }

  finish(): Promise<void> {
    return this.close();
  }

  /** Idempotent. */
  close(): Promise<void> {
    if (!this.#closed) {
      this.#closed = true;
      this.#closeEncoder();
      this.#scaler.freeContext();
      this.#packet.free();
      this.#pool?.close();
    }
    return Promise.resolve();
  }

  #encoderFor(picture: Picture, format: StillFormat): { readonly context: CodecContext; readonly frame: Frame } {
    const { width, height } = picture;
    const deep = picture.bitDepth === 10 && format.deepPixels !== undefined;
    if (
      this.#encoder !== undefined &&
      this.#encoder.format === format &&
      this.#encoder.deep === deep &&
      this.width === width &&
      this.height === height
    )
      return this.#encoder;
    this.#closeEncoder();
    this.width = width;
    this.height = height;
    const pixels = deep ? (format.deepPixels ?? format.pixels) : format.pixels;
    const frame = allocateFrame(width, height, pixels);
    const context = openEncoder(width, height, { ...format, pixels });
    this.#encoder = { context, format, deep, frame };
    return this.#encoder;
  }

  #closeEncoder(): void {
    this.#encoder?.context.freeContext();
    this.#encoder?.frame.free();
    this.#encoder = undefined;
  }

  #framePool({ width, height }: Picture): FramePool {
    if (this.#pool?.width !== width || this.#pool.height !== height) {
      this.#pool?.close();
      this.#pool = new FramePool(width, height);
    }
    return this.#pool;
  }
}

function openEncoder(width: number, height: number, { encoder, pixels, options }: StillFormat): CodecContext {
  const codec = Codec.findEncoderByName(encoder as never);
  if (codec === null) throw new AppError('internal', `This FFmpeg has no encoder of ${encoder}.`);
  const context = new CodecContext();
  context.allocContext3(codec);
  context.width = width;
  context.height = height;
  context.pixelFormat = pixels;
  context.timeBase = new Rational(1, 25);
  // Frame threads would hold pictures back.
  context.threadCount = 1;
  for (const [name, value] of Object.entries(options)) context.setOption(name, value);
  const code = context.open2Sync(codec, null);
  if (code < 0) context.freeContext();
  check(code, `Opening the encoder of ${encoder} for ${width}x${height}`, 'file.unwritable');
  return context;
}
