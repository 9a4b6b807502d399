import { Decoder } from '../../codec/decoder.ts';
import { AppError } from '../../errors.ts';
import { VIDEO_CLOCK_HZ, type MediaTime } from '../../media/types.ts';
import { Canvas } from './canvas.ts';
import { DeviceWriter, type PictureSink } from './device-writer.ts';
import type { CameraTarget, MediaItem, VideoItem } from './messages.ts';
import type { MuxListener } from './mux-session.ts';

/** 8K: what the encoder of a result can have made. */
const MAX_PIXELS = 7680 * 4320;
/** Keyframes are asked for at most this often. */
const ASK_EVERY = VIDEO_CLOCK_HZ;

/** One session's way from frames to a camera that other programs see: decoded, fitted into its size, written. It has no sound. */
export class CameraSession {
  readonly #target: CameraTarget;
  readonly #listener: MuxListener;
  readonly #openSink: (target: CameraTarget) => PictureSink;
  readonly #canvas: Canvas;
  #decoder: Decoder | undefined;
  #sink: PictureSink | undefined;
  #askedAt: MediaTime = -Infinity;

  constructor(
    target: CameraTarget,
    listener: MuxListener,
    openSink: (target: CameraTarget) => PictureSink = ({ device, width, height }) =>
      new DeviceWriter(device, width, height),
  ) {
    this.#target = target;
    this.#listener = listener;
    this.#openSink = openSink;
    this.#canvas = new Canvas(target.width, target.height);
  }

  expectSound(): void {
    // A camera has none.
  }

  /** @throws MuxError | AppError; the session is over then */
  handle(item: MediaItem): void {
    if (item.type === 'audio') return;
    if (this.#decoder?.codec !== item.codec) {
      this.#decoder?.close();
      this.#decoder = new Decoder({ codec: item.codec, maxPixels: MAX_PIXELS });
    }
    for (const picture of this.#decode(this.#decoder, item)) {
      try {
        this.#show(this.#canvas.draw(picture), picture.mediaTime);
      } finally {
        picture.release();
      }
    }
  }

  close(): void {
    this.abandon();
  }

  /** Idempotent. */
  abandon(): void {
    this.#sink?.close();
    this.#sink = undefined;
    this.#decoder?.close();
    this.#decoder = undefined;
    this.#canvas.close();
  }

  #decode(decoder: Decoder, { codec, data, keyframe, mediaTime }: VideoItem) {
    try {
      return decoder.decode({ codec, data, keyframe, mediaTime, receivedAtUs: 0, assembledAtUs: 0 });
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown.code !== 'media.decode') throw thrown;
      // Damaged, or before any keyframe: the next one mends it.
      if (mediaTime - this.#askedAt >= ASK_EVERY) {
        this.#askedAt = mediaTime;
        this.#listener.onNeedKeyframe();
      }
      return [];
    }
  }

  #show(pixels: Buffer, mediaTime: MediaTime): void {
    if (this.#sink === undefined) {
      this.#sink = this.#openSink(this.#target);
      this.#listener.onRunning();
    }
    this.#sink.write(pixels, mediaTime);
  }
}
