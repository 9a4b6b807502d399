import { PictureScaler } from '../../codec/scaler.ts';
import { AppError } from '../../errors.ts';
import type { PushResult, StreamFormat, Upscaler, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import type { Picture } from '../../media/picture.ts';

export interface SmallModelStreamOptions {
  readonly main: Upscaler;
  readonly small: () => Promise<Upscaler>;
  /** This rung is the small model; those before are the main upscaler's, the one behind is its last. */
  readonly smallRung: number;
  readonly format: StreamFormat;
  readonly listener: UpscalerListener;
  readonly onClose: () => void;
}

/** Pictures that may wait while one upscaler is emptied before the other goes on: a chunk and its look-ahead. */
const WAITING_FRAMES = 12;

type Side = 'main' | 'small';

/**
 * One stream that changes between two upscalers without losing or reordering a picture: what was pushed to one comes out
 * before anything goes to the other.
 */
export class SmallModelStream implements UpscalerStream {
  readonly #options: SmallModelStreamOptions;
  readonly #main: UpscalerStream;
  #small: UpscalerStream | undefined;
  /** Where pictures go now. */
  #side: Side = 'main';
  #rung = 0;
  #loading: Promise<void> | undefined;
  /** One side is being emptied; pictures wait. */
  #transition: Promise<void> | undefined;
  readonly #waiting: Picture[] = [];
  /** The small model cannot be used: its rung is the last one. */
  #smallFailed = false;
  #resizer: PictureScaler | undefined;
  #closed: Promise<void> | undefined;

  private constructor(options: SmallModelStreamOptions, main: UpscalerStream) {
    this.#options = options;
    this.#main = main;
  }

  static async open(options: SmallModelStreamOptions): Promise<SmallModelStream> {
    const main = await options.main.openStream(options.format, options.listener);
    return new SmallModelStream(options, main);
  }

  get outputWidth(): number {
    return this.#main.outputWidth;
  }
  get outputHeight(): number {
    return this.#main.outputHeight;
  }
  get pending(): number {
    return this.#waiting.length + this.#main.pending + (this.#small?.pending ?? 0);
  }
  get ready(): boolean {
    if (this.#closed !== undefined) return false;
    if (this.#transition !== undefined) return this.#waiting.length < WAITING_FRAMES;
    // What waited goes first; new pictures wait in the pipeline's queue, where the newest wins.
    return this.#waiting.length === 0 && this.#current.ready;
  }
  get busyUs(): number {
    return (this.#main.busyUs ?? 0) + (this.#small?.busyUs ?? 0);
  }

  get #current(): UpscalerStream {
    return this.#side === 'small' && this.#small !== undefined ? this.#small : this.#main;
  }

  push(picture: Picture): PushResult {
    if (this.#closed !== undefined) return 'closed';
    if (!this.ready) return 'full';
    if (this.#transition === undefined) return this.#current.push(picture);
    this.#waiting.push(picture);
    return 'accepted';
  }

  setRung(rung: number): void {
    this.#rung = rung;
    if (this.#closed === undefined) this.#follow();
  }

  async flush(): Promise<void> {
    while (this.#closed === undefined && (this.#transition !== undefined || this.#waiting.length > 0)) {
      await (this.#transition ?? this.#current.flush());
      this.#pump();
    }
    await this.#current.flush();
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    for (const picture of this.#waiting.splice(0)) picture.release?.();
    this.#options.onClose();
    await Promise.all([this.#main.close(), this.#small?.close()]);
    await Promise.all([this.#transition, this.#loading]);
    this.#resizer?.close();
  }

  /** Undefined: the small model is wanted and not there yet. */
  get #wantedSide(): Side | undefined {
    if (this.#rung !== this.#options.smallRung || this.#smallFailed) return 'main';
    return this.#small === undefined ? undefined : 'small';
  }

  #follow(): void {
    if (this.#transition !== undefined || this.#closed !== undefined) return;
    const { smallRung } = this.#options;
    const wanted = this.#wantedSide;
    if (wanted === undefined) {
      // Loading takes a while: the main upscaler works on, on the rung before.
      this.#main.setRung(smallRung - 1);
      this.#loading ??= this.#openSmall();
    } else if (wanted !== this.#side) {
      this.#transition = this.#current.flush().then(() => {
        this.#side = wanted;
        this.#transition = undefined;
        // The rung may have moved on meanwhile.
        this.#follow();
      });
      return;
    } else if (wanted === 'main') {
      // It does not know of the rung in between: behind the small model's is its own last one.
      this.#main.setRung(Math.min(this.#rung, smallRung));
    }
    this.#pump();
  }

  async #openSmall(): Promise<void> {
    try {
      const small = await this.#newSmall();
      if (this.#closed === undefined) this.#small = small;
      else await small.close();
    } catch (error) {
      this.#smallFailed = true;
      const { message } = AppError.from(error);
      const what = `The small model cannot take over, a plain resize does: ${message}`;
      this.#options.listener.onError(new AppError('model.run', what, { cause: error, scope: 'frame' }));
    }
    this.#follow();
  }

  async #newSmall(): Promise<UpscalerStream> {
    const { small, format, listener } = this.#options;
    return (await small()).openStream(format, {
      onPicture: (picture) => {
        if (this.#closed === undefined) listener.onPicture(this.#fit(picture));
        else picture.release?.();
        this.#pump();
      },
      onError: (error) => {
        listener.onError(new AppError(error.code, error.message, { cause: error, scope: 'frame' }));
        if (error.scope === 'frame') return;
        this.#smallFailed = true;
        this.#follow();
      },
    });
  }

  #pump(): void {
    while (this.#transition === undefined && this.#closed === undefined) {
      const [picture] = this.#waiting;
      if (picture === undefined) return;
      const result = this.#current.push(picture);
      // Asked again after the next result, or with the next picture.
      if (result === 'full') return;
      this.#waiting.shift();
      if (result === 'closed') picture.release?.();
    }
  }

  /** The small model's result in the stream's size. */
  #fit(picture: Picture): Picture {
    if (picture.width === this.outputWidth && picture.height === this.outputHeight) return picture;
    this.#resizer ??= new PictureScaler(this.outputWidth, this.outputHeight, 'bicubic');
    const fitted = this.#resizer.scale(picture);
    picture.release?.();
    return fitted;
  }
}
