import { PictureScaler } from '../codec/scaler.ts';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { Picture } from '../media/picture.ts';
import type { PushResult, UpscalerListener, UpscalerStream } from './upscaler.ts';

/** One of the upscalers that a stream changes between. */
export interface Side {
  /** For errors: "the small model". */
  readonly name: string;
  /** Rungs of the ladder that it has. */
  readonly rungs: number;
  /** Its end is the end of the whole stream. Otherwise the next side takes its rungs over. */
  readonly essential?: boolean;
  /** While false the next side has its rungs. Absent: always usable. */
  readonly usable?: () => boolean;
  /**
   * Called when one of its rungs is reached for the first time; what takes no time answers at once. Its results may be smaller
   * than the stream's: they are enlarged.
   */
  open(listener: UpscalerListener): UpscalerStream | Promise<UpscalerStream>;
}

export interface RungSwitchOptions {
  /** Best first; the last one must be one that cannot fail, a plain resize. */
  readonly sides: readonly Side[];
  /** Of the results. Absent: that of the side that is opened first. */
  readonly size?: { readonly outputWidth: number; readonly outputHeight: number };
  /** As `UpscalerStream.firstRung`. */
  readonly firstRung?: number;
  /** Pictures that may wait while one side is emptied before another goes on. */
  readonly waitingFrames: number;
  /** Of the sides, which share it. Absent: they give none out. */
  readonly memory?: (() => Promise<Uint8Array>) | undefined;
  readonly listener: UpscalerListener;
  readonly onClose: () => void;
}

type SideState =
  | { readonly kind: 'unopened' }
  | { readonly kind: 'opening'; readonly done: Promise<void> }
  | { readonly kind: 'open'; readonly stream: UpscalerStream }
  | { readonly kind: 'failed' };

/**
 * One stream that changes between several upscalers (the engine, a small model, a resize) without losing or reordering a
 * picture: what was pushed to one comes out before anything goes to another. A rung belongs to the side that has it; results have
 * the same size on all of them.
 */
export class RungSwitch implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly firstRung: number;
  readonly memory: UpscalerStream['memory'];
  readonly #options: RungSwitchOptions;
  readonly #states: SideState[];
  /** The side that takes pictures now, by its index. */
  #current: number;
  #rung = 0;
  /** The current side is being emptied; pictures wait. */
  #transition: Promise<void> | undefined;
  readonly #waiting: Picture[] = [];
  #resizer: PictureScaler | undefined;
  /** Spent on enlarging results of sides. */
  #resizeUs = 0;
  #closed: Promise<void> | undefined;

  private constructor(options: RungSwitchOptions, current: number, stream: UpscalerStream) {
    const { outputWidth, outputHeight } = options.size ?? stream;
    this.outputWidth = outputWidth;
    this.outputHeight = outputHeight;
    this.firstRung = options.firstRung ?? 0;
    this.memory = options.memory;
    this.#options = options;
    this.#current = current;
    this.#states = options.sides.map((_, index) =>
      index === current ? { kind: 'open', stream } : { kind: 'unopened' },
    );
  }

  /** Opens the first usable side. @throws AppError as that does */
  static async open(options: RungSwitchOptions): Promise<RungSwitch> {
    const index = options.sides.findIndex(isUsable);
    const first = options.sides[index];
    if (first === undefined) throw new AppError('internal', 'A rung switch needs a side.');
    // Events only come after the first push, so the switch is there when they do.
    const late: { listener?: UpscalerListener } = {};
    const stream = await first.open({
      onPicture: (picture) => late.listener?.onPicture(picture),
      onError: (error) => (late.listener ?? options.listener).onError(error),
    });
    const opened = new RungSwitch(options, index, stream);
    late.listener = opened.#listenerOf(index);
    return opened;
  }

  get pending(): number {
    return this.#waiting.length + this.#streams().reduce((sum, { pending }) => sum + pending, 0);
  }

  get ready(): boolean {
    if (this.#closed !== undefined) return false;
    if (this.#transition !== undefined) return this.#waiting.length < this.#options.waitingFrames;
    // What waited goes first; new pictures wait in the pipeline's queue, where the newest wins.
    return this.#waiting.length === 0 && this.#stream.ready;
  }

  get busyUs(): number {
    return this.#streams().reduce((sum, { busyUs = 0 }) => sum + busyUs, this.#resizeUs);
  }

  get #stream(): UpscalerStream {
    const state = this.#states[this.#current];
    if (state?.kind !== 'open') throw new AppError('internal', `Side ${this.#current} of the rung switch is not open.`);
    return state.stream;
  }

  push(picture: Picture): PushResult {
    if (this.#closed !== undefined) return 'closed';
    if (!this.ready) return 'full';
    if (!this.#usable(this.#current)) this.#follow();
    if (this.#transition === undefined) return this.#stream.push(picture);
    this.#waiting.push(picture);
    return 'accepted';
  }

  setRung(rung: number): void {
    this.#rung = rung;
    this.#follow();
  }

  async flush(): Promise<void> {
    while (this.#closed === undefined && (this.#transition !== undefined || this.#waiting.length > 0)) {
      await (this.#transition ?? this.#stream.flush());
      this.#pump();
    }
    if (this.#closed === undefined) await this.#stream.flush();
  }

  /** Idempotent. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    for (const picture of this.#waiting.splice(0)) picture.release?.();
    this.#options.onClose();
    await Promise.all(this.#streams().map((stream) => stream.close()));
    await Promise.all(this.#states.flatMap((state) => (state.kind === 'opening' ? [state.done] : [])));
    await this.#transition;
    this.#resizer?.close();
  }

  #streams(): UpscalerStream[] {
    return this.#states.flatMap((state) => (state.kind === 'open' ? [state.stream] : []));
  }

  #usable(side: number): boolean {
    const options = this.#options.sides[side];
    return options !== undefined && isUsable(options) && this.#states[side]?.kind !== 'failed';
  }

  /** The side that has this rung, and which of that side's rungs it is; in place of an unusable side the next one's first. */
  #locate(rung: number): { readonly side: number; readonly own: number } {
    let own = Math.max(0, rung);
    let found: { side: number; own: number } = { side: 0, own: 0 };
    for (const [side, { rungs }] of this.#options.sides.entries()) {
      const usable = this.#usable(side);
      if (usable) found = { side, own: Math.max(0, Math.min(own, rungs - 1)) };
      if (usable && own < rungs) return found;
      own = Math.max(0, own - rungs);
    }
    return found;
  }

  #follow(): void {
    if (this.#transition !== undefined || this.#closed !== undefined) return;
    const { side, own } = this.#locate(this.#rung);
    const state = this.#states[side];
    if (state?.kind === 'unopened') this.#open(side);
    if (this.#states[side]?.kind !== 'open') {
      // Opening takes a while: the side before works on, on its cheapest rung.
      if (this.#current < side) this.#stream.setRung((this.#options.sides[this.#current]?.rungs ?? 1) - 1);
    } else if (side === this.#current) this.#stream.setRung(own);
    else {
      this.#transition = this.#empty(this.#stream).then(() => {
        this.#current = side;
        this.#transition = undefined;
        // The rung may have moved on meanwhile.
        this.#follow();
      });
      return;
    }
    this.#pump();
  }

  /** What has not come out by then was lost, and reported as an error. */
  async #empty(stream: UpscalerStream): Promise<void> {
    if (stream.pending > 0)
      await stream.flush().catch((error: unknown) => this.#options.listener.onError(AppError.from(error)));
  }

  #open(side: number): void {
    try {
      const opened = this.#options.sides[side]?.open(this.#listenerOf(side));
      if (opened instanceof Promise) this.#states[side] = { kind: 'opening', done: this.#opened(side, opened) };
      else if (opened !== undefined) this.#states[side] = { kind: 'open', stream: opened };
    } catch (error) {
      this.#fail(side, error);
    }
  }

  async #opened(side: number, opening: Promise<UpscalerStream>): Promise<void> {
    try {
      const stream = await opening;
      if (this.#closed !== undefined) return await stream.close();
      this.#states[side] = { kind: 'open', stream };
    } catch (error) {
      this.#fail(side, error);
    }
    this.#follow();
  }

  #listenerOf(side: number): UpscalerListener {
    return {
      onPicture: (picture) => this.#onPicture(picture),
      onError: (error) => this.#onSideError(side, error),
    };
  }

  #onSideError(side: number, error: AppError): void {
    const essential = this.#options.sides[side]?.essential === true;
    if (essential || error.scope === 'frame') return this.#options.listener.onError(error);
    const state = this.#states[side];
    this.#fail(side, error);
    if (state?.kind === 'open') void state.stream.close();
    if (this.#current === side) {
      // What was inside is gone; there is nothing to empty.
      this.#current = this.#options.sides.findIndex((_, index) => this.#states[index]?.kind === 'open');
    }
    this.#follow();
  }

  /** Its rungs are the next side's from now on. */
  #fail(side: number, cause: unknown): void {
    this.#states[side] = { kind: 'failed' };
    const error = AppError.from(cause);
    const name = this.#options.sides[side]?.name ?? 'a rung';
    const next = this.#options.sides[this.#locate(this.#rung).side]?.name ?? 'the next rung';
    const what = `${name.charAt(0).toUpperCase()}${name.slice(1)} cannot take over, ${next} does: ${error.message}`;
    this.#options.listener.onError(new AppError(error.code, what, { cause, scope: 'frame' }));
  }

  #onPicture(picture: Picture): void {
    if (this.#closed === undefined) this.#options.listener.onPicture(this.#fit(picture));
    else picture.release?.();
    this.#pump();
  }

  #pump(): void {
    while (this.#transition === undefined && this.#closed === undefined) {
      // Out of the line first: a side may deliver, and come back here, before push() returns.
      const picture = this.#waiting.shift();
      if (picture === undefined) return;
      const result = this.#stream.push(picture);
      if (result === 'closed') picture.release?.();
      if (result !== 'full') continue;
      // Tried again after the next result, or with the next picture.
      this.#waiting.unshift(picture);
      return;
    }
  }

  /** A result in the stream's size: a small model may have a smaller scale. */
  #fit(picture: Picture): Picture {
    if (picture.width === this.outputWidth && picture.height === this.outputHeight) return picture;
    this.#resizer ??= new PictureScaler(this.outputWidth, this.outputHeight, 'bicubic');
    const startedAtUs = monotonicUs();
    const fitted = this.#resizer.scale(picture);
    picture.release?.();
    fitted.trace.upscaledAtUs = monotonicUs();
    this.#resizeUs += fitted.trace.upscaledAtUs - startedAtUs;
    return fitted;
  }
}

function isUsable({ usable }: Side): boolean {
  return usable === undefined || usable();
}
