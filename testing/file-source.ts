import type { Source, SourceSink, SourceStats } from '../server/broadcast/source.ts';
import type { SessionState } from '../server/broadcast/statistics.ts';
import { Encoder, type EncodedPicture } from '../server/codec/encoder.ts';
import { TICKS_PER_PICTURE, VideoReader } from '../server/codec/video-reader.ts';
import { AppError } from '../server/errors.ts';
import { monotonicUs } from '../server/media/clock.ts';
import { VIDEO_CLOCK_HZ } from '../server/media/types.ts';

export interface FileSourceOptions {
  readonly id: string;
  readonly file: string;
  /** Media time of the first picture; the broadcast's time goes on from source to source. */
  readonly fromMediaTime?: number;
  /** Begin again at the file's end. */
  readonly loop?: boolean;
}

/**
 * A source that is no WebRTC publisher: decodes a video file, encodes it again as H264 for the pipeline and delivers it at the
 * file's pace. Used by tests to hold the seam to its word.
 */
export class FileSource implements Source {
  readonly id: string;
  readonly states: SessionState[] = [];
  framesDelivered = 0;
  keyframesRequested = 0;
  readonly #options: FileSourceOptions;
  #bytes = 0;
  #framesPerSecond = 0;
  #keyframeWanted = false;
  #closed = false;
  #playing: Promise<void> = Promise.resolve();
  /** Ends the wait for the next picture. */
  #wake: () => void = () => undefined;

  constructor(options: FileSourceOptions) {
    this.id = options.id;
    this.#options = options;
  }

  start(sink: SourceSink): void {
    this.#playing = this.#play(sink).catch((thrown: unknown) => {
      sink.onEnded('the file cannot be played', AppError.from(thrown));
    });
  }

  requestKeyframe(): void {
    this.keyframesRequested += 1;
    this.#keyframeWanted = true;
  }

  getStats(): SourceStats {
    const seconds = this.framesDelivered / Math.max(1, this.#framesPerSecond);
    return {
      codec: 'H264',
      bitrateBps: seconds === 0 ? 0 : (this.#bytes * 8) / seconds,
      framesPerSecond: this.#framesPerSecond,
      packetsLost: 0,
      timestampsReplaced: 0,
      hasAudio: false,
    };
  }

  onState(state: SessionState): void {
    this.states.push(state);
  }

  onStats(): void {
    // a file has no reader of statistics
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#wake();
    await this.#playing;
  }

  async #play(sink: SourceSink): Promise<void> {
    let mediaTime = this.#options.fromMediaTime ?? 0;
    do mediaTime = await this.#playOnce(sink, mediaTime);
    while (this.#options.loop === true && !this.#closed);
    if (!this.#closed) sink.onEnded('end of file', new AppError('peer.connection', 'The file has ended.'));
  }

  /** @returns the media time after the last picture */
  async #playOnce(sink: SourceSink, fromMediaTime: number): Promise<number> {
    const reader = await VideoReader.open(this.#options.file, 1);
    let encoder: Encoder | undefined;
    try {
      sink.onConnected();
      const { width, height, framesPerSecond } = reader.info;
      this.#framesPerSecond = framesPerSecond;
      const ticks = VIDEO_CLOCK_HZ / framesPerSecond;
      const beganAtUs = monotonicUs();
      let count = 0;
      for await (const item of reader.read()) {
        if (item.type === 'packet') {
          item.packet.free();
          continue;
        }
        const { picture } = item;
        try {
          if (this.#closed) break;
          await this.#until(beganAtUs + (count * 1e6) / framesPerSecond);
          encoder ??= new Encoder({
            ...{ codec: 'H264', width, height, colour: picture.colour, bitrateBps: 800_000 },
            ...{ framesPerSecond, keyframeIntervalSeconds: 10, keyframeMaxRatio: 8 },
          });
          const keyframe = this.#keyframeWanted;
          this.#keyframeWanted = false;
          for (const encoded of encoder.encode(picture, keyframe)) {
            // The reader numbers pictures; here they get the file's pace, after what has been played before.
            const mediaTime = Math.round(fromMediaTime + (encoded.mediaTime / TICKS_PER_PICTURE) * ticks);
            this.#deliver(sink, { ...encoded, mediaTime });
          }
          count += 1;
        } finally {
          picture.release();
        }
      }
      return Math.round(fromMediaTime + count * ticks);
    } finally {
      encoder?.close();
      await reader.close();
    }
  }

  #deliver(sink: SourceSink, { data, mediaTime, keyframe }: EncodedPicture): void {
    const nowUs = monotonicUs();
    this.framesDelivered += 1;
    this.#bytes += data.length;
    sink.onAccessUnit({ codec: 'H264', data, mediaTime, keyframe, receivedAtUs: nowUs, assembledAtUs: nowUs });
  }

  async #until(dueAtUs: number): Promise<void> {
    const waitMs = (dueAtUs - monotonicUs()) / 1000;
    if (waitMs < 1 || this.#closed) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, waitMs);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
