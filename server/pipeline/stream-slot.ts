import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { UpscalerStream } from '../upscalers/upscaler.ts';
import { GrowthWatch, type Size } from './growth.ts';

/** Where a broadcast stands with its upscaler: at most one stream takes pictures, at most one is being opened. */
type SlotState =
  | { readonly kind: 'none' }
  | { readonly kind: 'opening'; readonly size: Size }
  | { readonly kind: 'open'; readonly stream: UpscalerStream; readonly size: Size }
  /** `stream` works on while one for the size `next` is opened. */
  | { readonly kind: 'growing'; readonly stream: UpscalerStream; readonly size: Size; readonly next: Size }
  /** The stream before delivers what it has; pictures wait in the queue, so that none overtakes those inside. */
  | { readonly kind: 'handover'; readonly stream: UpscalerStream; readonly size: Size }
  | { readonly kind: 'failed'; readonly atUs: MonotonicUs }
  | { readonly kind: 'closed' };

export interface StreamSlotOptions {
  readonly open: (size: Size) => Promise<UpscalerStream>;
  /** A source that stayed larger for this long gets a larger result, one that stayed smaller for four times as long a smaller one; 0: never. */
  readonly growAfterMs: number;
  /** Pictures go to this stream from now on. @param newFormat its result has another size than the last stream's */
  readonly onOpen: (stream: UpscalerStream, newFormat: boolean) => void;
  /** The stream that took pictures is leaving. */
  readonly onLeave: () => void;
  readonly onError: (error: AppError) => void;
}

/** Sizes of 16:9 rounded to multiples of 2, 4 or 8 differ in aspect by up to this; they are the same picture. */
const ASPECT_TOLERANCE = 0.02;

export function sameAspect(a: Size, b: Size): boolean {
  return Math.abs((a.width * b.height) / (a.height * b.width) - 1) <= ASPECT_TOLERANCE;
}

/** A stream that failed is opened again after this long. */
const REOPEN_AFTER_US = 1_000_000;
/**
 * Streams are replaced for another aspect at most this often. A source that changes its aspect with every frame would otherwise
 * open streams, each with its own pictures and memory, faster than an upscaler releases the old ones.
 */
const ASPECT_INTERVAL_US = 500_000;

/** Opens, keeps, replaces and closes the upscaler stream of one broadcast as its source's size asks. */
export class StreamSlot {
  readonly #options: StreamSlotOptions;
  readonly #growth: GrowthWatch;
  #state: SlotState = { kind: 'none' };
  /** Of the last stream of this aspect, and of the next: `output` is known as soon as one was open. */
  #format: { readonly size: Size; readonly output?: Size } | undefined;
  /** Before this no stream is opened for another aspect; undefined before the first stream. */
  #nextAspectAtUs: MonotonicUs | undefined;

  constructor(options: StreamSlotOptions) {
    this.#options = options;
    this.#growth = new GrowthWatch(options.growAfterMs);
  }

  /** Takes pictures now. */
  get stream(): UpscalerStream | undefined {
    const state = this.#state;
    return state.kind === 'open' || state.kind === 'growing' ? state.stream : undefined;
  }

  /** The size streams of the present aspect are opened for. */
  get size(): Size | undefined {
    return this.#format?.size;
  }

  /** What comes out, cropped to even sides. */
  get output(): Size | undefined {
    return this.#format?.output;
  }

  /**
   * A picture of this size has come. Other aspect: the stream is replaced. Larger or smaller for long: so is it, without losing a picture.
   * @param needed false: no stream is opened, except to find out what would come out
   * @returns true when pictures of the aspect before are worthless now
   */
  follow(source: Size, needed: boolean): boolean {
    const now = monotonicUs();
    const size = this.#format?.size;
    const changed = size !== undefined && !sameAspect(size, source);
    if (changed) this.#forgetAspect();
    else if (size !== undefined && this.#growth.changed(source, size, now)) {
      if (this.stream === undefined) this.#format = undefined;
      else this.#grow(source);
    }
    if (this.stream === undefined && (needed || this.output === undefined)) this.#open(source, now);
    return changed;
  }

  /** The same source shall have another result: the stream is replaced without losing a picture. While another is opened already: nothing. */
  reopen(): void {
    const size = this.#format?.size;
    if (size === undefined) return;
    if (this.stream !== undefined) this.#grow(size);
    // Found out anew with the next picture.
    else if (this.#state.kind === 'none') this.#format = { size };
  }

  /** Takes the stream out; the next picture opens another. The caller closes it. */
  release(): UpscalerStream | undefined {
    const { stream } = this;
    if (stream === undefined) return undefined;
    this.#leave(this.#state.kind === 'growing' ? { kind: 'opening', size: this.#state.next } : { kind: 'none' });
    return stream;
  }

  /** The stream has failed; the next one is opened after a while. */
  fail(): void {
    const { stream } = this;
    if (this.#state.kind === 'closed') return;
    this.#leave({ kind: 'failed', atUs: monotonicUs() });
    void stream?.close();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    const state = this.#state;
    this.#state = { kind: 'closed' };
    if ('stream' in state) await state.stream.close();
  }

  #forgetAspect(): void {
    void this.release()?.close();
    // An opening goes on: at its end it finds that its size is not wanted.
    if (this.#state.kind === 'handover') this.#leave({ kind: 'none' });
    this.#format = undefined;
  }

  #open(source: Size, now: MonotonicUs): void {
    const state = this.#state;
    if (state.kind !== 'none' && (state.kind !== 'failed' || now - state.atUs < REOPEN_AFTER_US)) return;
    if (this.#format === undefined && !this.#mayChangeAspect(now)) return;
    this.#format ??= { size: source };
    const { size } = this.#format;
    this.#state = { kind: 'opening', size };
    this.#opened(size).catch((error: unknown) => {
      if (this.#state.kind === 'closed') return;
      this.#state = { kind: 'failed', atUs: monotonicUs() };
      this.#options.onError(AppError.from(error, 'model.run'));
    });
  }

  #mayChangeAspect(now: MonotonicUs): boolean {
    if (this.#nextAspectAtUs !== undefined && now < this.#nextAspectAtUs) return false;
    this.#nextAspectAtUs = this.#nextAspectAtUs === undefined ? -Infinity : now + ASPECT_INTERVAL_US;
    return true;
  }

  async #opened(size: Size): Promise<void> {
    const stream = await this.#options.open(size);
    const state = this.#state;
    if (state.kind === 'opening' && this.#format !== undefined && sameAspect(this.#format.size, size)) {
      this.#adopt(stream, size);
      return;
    }
    // The source's aspect has changed meanwhile, or all is over.
    if (state.kind === 'opening') this.#state = { kind: 'none' };
    await stream.close();
  }

  /** A stream for another size beside the present one, which works on until the other is there and then delivers what it has. */
  #grow(next: Size): void {
    const { kind } = this.#state;
    if (kind !== 'open') return;
    const { stream: before, size } = this.#state;
    const growing: SlotState = { kind: 'growing', stream: before, size, next };
    this.#state = growing;
    this.#grown(growing).catch((error: unknown) => {
      this.#growth.refuse(next);
      if (this.#is(growing)) this.#state = { kind: 'open', stream: before, size };
      else if (this.#state.kind === 'opening') this.#state = { kind: 'none' };
      const { code, message } = AppError.from(error, 'model.run');
      const what = `The result stays as it is, the source's ${next.width}x${next.height} is too much: ${message}`;
      this.#options.onError(new AppError(code, what, { cause: error, scope: 'frame' }));
    });
  }

  async #grown(growing: Extract<SlotState, { kind: 'growing' }>): Promise<void> {
    const stream = await this.#options.open(growing.next);
    if (!this.#is(growing)) {
      if (this.#state.kind === 'opening') this.#state = { kind: 'none' };
      return stream.close();
    }
    const handover: SlotState = { kind: 'handover', stream, size: growing.next };
    this.#leave(handover);
    await growing.stream.flush().catch(() => undefined);
    void growing.stream.close();
    if (this.#is(handover)) this.#adopt(stream, growing.next);
    else await stream.close();
  }

  /** Nothing has happened since. */
  #is(state: SlotState): boolean {
    return this.#state === state;
  }

  #adopt(stream: UpscalerStream, size: Size): void {
    const before = this.#format?.output;
    const output = { width: stream.outputWidth & ~1, height: stream.outputHeight & ~1 };
    this.#state = { kind: 'open', stream, size };
    this.#format = { size, output };
    this.#options.onOpen(stream, before?.width !== output.width || before.height !== output.height);
  }

  #leave(state: SlotState): void {
    this.#options.onLeave();
    this.#state = state;
  }
}
