import type { FilmWriter, PictureTiming } from '../codec/film-writer.ts';
import { TICKS_PER_PICTURE, type FilmSource } from '../codec/video-reader.ts';
import { AppError } from '../errors.ts';
import type { Picture } from '../media/picture.ts';
import type { Upscaler, UpscalerInfo, UpscalerStream } from '../upscalers/upscaler.ts';

interface Timing extends PictureTiming {
  /** Made by a run before, and given to the model only for what it remembers of it. */
  readonly isKept: boolean;
}

export interface JobPlace {
  /** Of the job's first picture in the result: what other jobs have written. */
  readonly firstIndex: number;
  /** Whether a run before has made a picture of the result, so that it needs no model. */
  readonly isKept: (index: number) => boolean;
  /** What the model remembered behind the last kept picture, which is in front of all missing ones. */
  readonly memory?: Uint8Array | undefined;
}

export interface JobEvents {
  /** A picture is written. */
  onWritten(): void;
  /** A picture of a run before was passed. */
  onKept(): void;
}

/** Pictures of one size through one stream of a model, in order, into a writer. */
export class UpscaleJob {
  readonly #reader: FilmSource;
  readonly #upscaler: Upscaler;
  readonly #openWriter: (stream: UpscalerStream) => Promise<FilmWriter>;
  readonly #events: JobEvents;
  readonly #place: JobPlace;
  readonly #timings = new Map<number, Timing>();
  /** Results not yet written, in order. */
  readonly #results: Picture[] = [];
  #writer: FilmWriter | undefined;
  #stream: UpscalerStream | undefined;
  #failure: AppError | undefined;
  #returned = 0;
  #passed = 0;
  readonly #modelBegins: number;
  #wake: (() => void) | undefined;

  /**
   * @param openWriter is called when the first item has come, so that everything about the source is known
   */
  constructor(
    reader: FilmSource,
    upscaler: Upscaler,
    openWriter: (stream: UpscalerStream) => Promise<FilmWriter>,
    events: JobEvents,
    place: JobPlace = { firstIndex: 0, isKept: () => false },
  ) {
    this.#reader = reader;
    this.#upscaler = upscaler;
    this.#openWriter = openWriter;
    this.#events = events;
    this.#place = place;
    this.#modelBegins = modelBegins(place, upscaler.info);
  }

  /** The writer stays open. @returns the number of pictures */
  async run(): Promise<number> {
    const { info } = this.#reader;
    this.#stream = await this.#upscaler.openStream(
      {
        sourceWidth: info.width,
        sourceHeight: info.height,
        startFrame: this.#modelBegins - this.#place.firstIndex,
        memory: this.#place.memory,
      },
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
      if (this.#returned !== pushed) {
        throw new AppError('model.run', `The model returned ${this.#returned} of ${pushed} frames.`);
      }
      return this.#passed;
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
      const writer = await this.#writerFor();
      const index = this.#place.firstIndex + this.#passed;
      const timing = { index, pts, duration, isKept: this.#place.isKept(index) };
      this.#passed += 1;
      if (timing.isKept) {
        await writer.passKept(timing);
        this.#events.onKept();
      }
      const isRemembered = index >= this.#modelBegins && this.#upscaler.info.warmUpFrames !== undefined;
      if (timing.isKept && !isRemembered) {
        picture.release();
        continue;
      }
      this.#timings.set(picture.mediaTime, timing);
      while (!stream.ready && this.#failure === undefined) {
        await this.#waitForResult();
        // The next picture goes in first; the result is written while the model works on it.
        if (!stream.ready) await this.#writeResults();
      }
      if (stream.push(picture) !== 'accepted')
        this.#failure ??= new AppError('model.run', 'The model refused a frame.');
      pushed += 1;
      if (!timing.isKept && writer.endsSegment?.(index) === true) await this.#remember(stream, writer);
      await this.#writeResults();
    }
    return pushed;
  }

  /** The segment that the picture pushed last ends is finished with the model's memory, so that another run begins behind it. */
  async #remember(stream: UpscalerStream, writer: FilmWriter): Promise<void> {
    if (stream.memory === undefined) return;
    await stream.flush();
    if (this.#failure !== undefined) throw this.#failure;
    writer.remember?.(await stream.memory());
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
      this.#returned += 1;
      if (!timing.isKept) {
        const writer = await this.#writerFor();
        await writer.write(picture, timing);
        this.#events.onWritten();
      }
      picture.release?.();
    }
    if (this.#failure !== undefined) throw this.#failure;
  }
}

/**
 * A model that remembers, and whose memory was not kept, begins with kept pictures in front of the first one that is missing, at the place of one of its chunks, so
 * that it makes of that one what it would have made in a run that was not stopped.
 */
function modelBegins(
  { firstIndex, isKept, memory }: JobPlace,
  { warmUpFrames = 0, chunkFrames }: UpscalerInfo,
): number {
  let missing = firstIndex;
  while (isKept(missing)) missing += 1;
  if (memory !== undefined) return missing;
  const chunks = Math.floor((missing - firstIndex - warmUpFrames) / chunkFrames);
  return firstIndex + Math.max(0, chunks) * chunkFrames;
}
