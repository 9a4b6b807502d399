import type { FilmWriter } from '../codec/film-writer.ts';
import { TICKS_PER_PICTURE, type FilmSource } from '../codec/video-reader.ts';
import { AppError } from '../errors.ts';
import type { Picture } from '../media/picture.ts';
import type { Upscaler, UpscalerStream } from '../upscalers/upscaler.ts';

interface Timing {
  readonly pts: bigint;
  readonly duration: bigint;
}

/** Pictures of one size through one stream of a model, in order, into a writer. */
export class UpscaleJob {
  readonly #reader: FilmSource;
  readonly #upscaler: Upscaler;
  readonly #openWriter: (stream: UpscalerStream) => Promise<FilmWriter>;
  readonly #onWritten: () => void;
  readonly #timings = new Map<number, Timing>();
  /** Results not yet written, in order. */
  readonly #results: Picture[] = [];
  #writer: FilmWriter | undefined;
  #stream: UpscalerStream | undefined;
  #failure: AppError | undefined;
  #written = 0;
  #wake: (() => void) | undefined;

  /**
   * @param openWriter is called when the first item has come, so that everything about the source is known
   * @param onWritten after each picture
   */
  constructor(
    reader: FilmSource,
    upscaler: Upscaler,
    openWriter: (stream: UpscalerStream) => Promise<FilmWriter>,
    onWritten: () => void,
  ) {
    this.#reader = reader;
    this.#upscaler = upscaler;
    this.#openWriter = openWriter;
    this.#onWritten = onWritten;
  }

  /** The writer stays open. @returns the number of pictures */
  async run(): Promise<number> {
    const { info } = this.#reader;
    this.#stream = await this.#upscaler.openStream(
      { sourceWidth: info.width, sourceHeight: info.height },
      {
        onPicture: (picture) => {
          this.#results.push(picture);
          this.#wake?.();
        },
        onError: (error) => {
          this.#failure ??= error;
          this.#wake?.();
        },
      },
    );
    try {
      const pushed = await this.#readAll(this.#stream);
      const flushed = this.#stream.flush();
      await this.#writeUntil(flushed);
      if (this.#written !== pushed) {
        throw new AppError('model.run', `The model returned ${this.#written} of ${pushed} frames.`);
      }
      return this.#written;
    } finally {
      await this.#stream.close();
    }
  }

  async #readAll(stream: UpscalerStream): Promise<number> {
    let pushed = 0;
    for await (const item of this.#reader.read()) {
      if (item.type === 'packet') {
        const writer = await this.#writerFor();
        await writer.copy(item.packet, item.stream);
        continue;
      }
      const { picture, pts, duration } = item;
      this.#timings.set(picture.mediaTime, { pts, duration });
      await this.#writerFor();
      while (!stream.ready && this.#failure === undefined) {
        await this.#waitForResult();
        // The next picture goes in first; the result is written while the model works on it.
        if (!stream.ready) await this.#writeResults();
      }
      if (stream.push(picture) !== 'accepted')
        this.#failure ??= new AppError('model.run', 'The model refused a frame.');
      pushed += 1;
      await this.#writeResults();
    }
    return pushed;
  }

  async #writerFor(): Promise<FilmWriter> {
    const stream = this.#stream;
    if (stream === undefined) throw new AppError('internal', 'The writer was opened before the stream.');
    return (this.#writer ??= await this.#openWriter(stream));
  }

  async #writeUntil(flushed: Promise<void>): Promise<void> {
    let ended = false;
    const end = flushed.then(
      () => {
        ended = true;
        this.#wake?.();
      },
      (error: unknown) => {
        this.#failure ??= AppError.from(error, 'model.run');
        this.#wake?.();
      },
    );
    while (!ended && this.#failure === undefined) {
      await this.#writeResults();
      if (!ended) await this.#waitForResult();
    }
    await this.#writeResults();
    await end;
  }

  async #waitForResult(): Promise<void> {
    if (this.#results.length === 0 && this.#failure === undefined) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#wake = undefined;
    }
  }

  async #writeResults(): Promise<void> {
    for (let picture = this.#results.shift(); picture !== undefined; picture = this.#results.shift()) {
      const timing = this.#timings.get(picture.mediaTime);
      this.#timings.delete(picture.mediaTime);
      if (timing === undefined)
        throw new AppError('model.run', `The model returned frame ${picture.mediaTime / TICKS_PER_PICTURE} twice.`);
      const writer = await this.#writerFor();
      await writer.write(picture, timing.pts, timing.duration);
      picture.release?.();
      this.#written += 1;
      this.#onWritten();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}
