import { Encoder } from '../codec/encoder.ts';
import { PictureScaler } from '../codec/scaler.ts';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import type { EncodedFrame, ResultCodec, Rendition } from '../media/types.ts';
import type { EncoderRequest } from './messages.ts';
import type { Picture } from '../media/picture.ts';

export interface EncoderBankOptions {
  readonly keyframeIntervalSeconds: number;
  readonly keyframeMaxRatio: number;
  /** Nominal rate for encoders opened from now on. */
  readonly framesPerSecond: () => number;
  readonly onFrame: (frame: EncodedFrame, encodeUs: number) => void;
  readonly onError: (error: AppError) => void;
}

interface Slot {
  request: EncoderRequest;
  encoder: Encoder | undefined;
  keyframeWanted: boolean;
}

const keyOf = (codec: ResultCodec, rendition: Rendition): string => `${codec}/${rendition}`;

/** Encodes each result once per (codec, rendition) that has viewers, never per viewer. */
export class EncoderBank {
  readonly #options: EncoderBankOptions;
  readonly #slots = new Map<string, Slot>();
  /** Full result to the source's size. */
  #low: PictureScaler | undefined;

  #keyframeIntervalSeconds: number;

  constructor(options: EncoderBankOptions) {
    this.#options = options;
    this.#keyframeIntervalSeconds = options.keyframeIntervalSeconds;
  }

  /** Encoders are opened again with the next picture, which is a keyframe, as none can change its interval. */
  setKeyframeInterval(seconds: number): void {
    if (seconds === this.#keyframeIntervalSeconds) return;
    this.#keyframeIntervalSeconds = seconds;
    for (const slot of this.#slots.values()) {
      slot.encoder?.close();
      slot.encoder = undefined;
    }
  }

  /** False: there are no viewers, nothing needs encoding. */
  get wanted(): boolean {
    return this.#slots.size > 0;
  }

  /** The complete list; encoders not in it are closed. */
  set(requests: readonly EncoderRequest[]): void {
    const wanted = new Map(requests.map((request) => [keyOf(request.codec, request.rendition), request]));
    for (const [key, slot] of this.#slots) {
      if (wanted.has(key)) continue;
      slot.encoder?.close();
      this.#slots.delete(key);
    }
    for (const [key, request] of wanted) {
      const slot = this.#slots.get(key);
      if (slot === undefined) {
        this.#slots.set(key, { request, encoder: undefined, keyframeWanted: false });
        continue;
      }
      slot.request = request;
      slot.encoder?.setBitrate(request.bitrateBps);
    }
  }

  /** Merged with other wishes until the next picture. Unknown encoders are ignored: they start with a keyframe anyway. */
  requestKeyframe(codec: ResultCodec, rendition: Rendition): void {
    const slot = this.#slots.get(keyOf(codec, rendition));
    if (slot !== undefined) slot.keyframeWanted = true;
  }

  /** @param low size of the `low` rendition: the source's. The picture stays the caller's. */
  encode(picture: Picture, low: { readonly width: number; readonly height: number }): void {
    let lowPicture: Picture | undefined;
    for (const slot of this.#slots.values()) {
      try {
        if (slot.request.rendition === 'low') lowPicture ??= this.#scaleDown(picture, low.width, low.height);
        const input = slot.request.rendition === 'low' ? lowPicture : picture;
        if (input !== undefined) this.#encodeOne(slot, input);
      } catch (error) {
        // One encoder in trouble must not starve the viewers of the others; it is opened again with the next picture.
        slot.encoder?.close();
        slot.encoder = undefined;
        const { message } = AppError.from(error);
        const { codec, rendition } = slot.request;
        const what = `The ${codec} encoder (${rendition}) failed and is opened again: ${message}`;
        this.#options.onError(new AppError('internal', what, { cause: error, scope: 'frame' }));
      }
    }
    lowPicture?.release?.();
  }

  /** Idempotent. */
  close(): void {
    for (const slot of this.#slots.values()) slot.encoder?.close();
    this.#slots.clear();
    this.#low?.close();
    this.#low = undefined;
  }

  #encodeOne(slot: Slot, picture: Picture): void {
    const startedAtUs = monotonicUs();
    const encoder = this.#encoderFor(slot, picture);
    const keyframe = slot.keyframeWanted;
    const encoded = encoder.encode(picture, keyframe);
    if (encoded.length > 0) slot.keyframeWanted = false;
    const encodedAtUs = monotonicUs();
    const { codec, rendition } = slot.request;
    for (const { data, mediaTime, keyframe: isKeyframe } of encoded) {
      const trace = { ...picture.trace, encodedAtUs };
      const { width, height } = encoder;
      const frame: EncodedFrame = { codec, rendition, data, mediaTime, keyframe: isKeyframe, width, height, trace };
      this.#options.onFrame(frame, encodedAtUs - startedAtUs);
    }
  }

  #encoderFor(slot: Slot, picture: Picture): Encoder {
    const existing = slot.encoder;
    if (existing?.width === (picture.width & ~1) && existing.height === (picture.height & ~1)) return existing;
    existing?.close();
    slot.encoder = undefined;
    const { keyframeMaxRatio, framesPerSecond } = this.#options;
    slot.encoder = new Encoder({
      codec: slot.request.codec,
      width: picture.width,
      height: picture.height,
      colour: picture.colour,
      bitrateBps: slot.request.bitrateBps,
      framesPerSecond: framesPerSecond(),
      keyframeIntervalSeconds: this.#keyframeIntervalSeconds,
      keyframeMaxRatio,
    });
    return slot.encoder;
  }

  #scaleDown(picture: Picture, width: number, height: number): Picture {
    if (this.#low?.width !== width || this.#low.height !== height) {
      this.#low?.close();
      this.#low = new PictureScaler(width, height, 'bicubic');
    }
    return this.#low.scale(picture);
  }
}
