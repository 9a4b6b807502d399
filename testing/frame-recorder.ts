import { open, type FileHandle } from 'node:fs/promises';
import { EgressQueue, type EgressQueueLimits } from '../server/broadcast/egress-queue.ts';
import { KeyframeGate } from '../server/broadcast/keyframe-gate.ts';
import type { SessionState } from '../server/broadcast/statistics.ts';
import type { Subscriber, SubscriberState, Subscription } from '../server/broadcast/subscriber.ts';
import type { EncodedFrame, Rendition } from '../server/media/types.ts';

export interface FrameRecorderOptions {
  readonly id: string;
  readonly file: string;
  readonly queue?: Partial<EgressQueueLimits>;
  /** Called before each frame is written: a slow disk. */
  readonly beforeWrite?: () => Promise<void>;
}

/**
 * A subscriber that is no WebRTC viewer: counts a broadcast's H264 frames and writes them to a file as an Annex B stream, which
 * FFmpeg plays. Used by tests to hold the seam to its word.
 */
export class FrameRecorder implements Subscriber {
  readonly id: string;
  readonly kind = 'recorder';
  readonly codec = 'H264';
  readonly wantsSource = false;
  readonly states: SessionState[] = [];
  framesWritten = 0;
  framesDropped = 0;
  bytesWritten = 0;
  audioPackets = 0;
  readonly #options: FrameRecorderOptions;
  readonly #subscription: Subscription;
  readonly #gate = new KeyframeGate();
  readonly #queue: EgressQueue;
  #writing: Promise<void> = Promise.resolve();

  constructor(options: FrameRecorderOptions, subscription: Subscription) {
    this.id = options.id;
    this.#options = options;
    this.#subscription = subscription;
    this.#queue = new EgressQueue(options.queue);
  }

  get state(): SubscriberState {
    return this.#gate.state;
  }
  get renditions(): readonly Rendition[] {
    return this.#gate.renditions;
  }
  get bitrateBps(): number {
    return 0;
  }

  async start(): Promise<void> {
    const file = await open(this.#options.file, 'w');
    this.#writing = this.#write(file);
    if (this.#gate.connected()) this.#subscription.started();
  }

  /** A disk takes what comes: it has no say in the bit rate. */
  report(): undefined {
    return undefined;
  }

  want(rendition: Rendition): boolean {
    return this.#gate.want(rendition);
  }

  restart(): void {
    this.#gate.restart();
  }

  onResult(frame: EncodedFrame): void {
    if (frame.codec !== this.codec || !this.#gate.admits(frame)) return;
    if (this.#queue.push(frame)) return;
    this.framesDropped += 1;
    this.#gate.restart();
    this.#subscription.dropped('egress-slow', 1);
    this.#subscription.requestKeyframe('result');
  }

  onSource(): void {
    // wantsSource is false
  }

  onAudio(): void {
    this.audioPackets += 1;
  }

  onState(state: SessionState): void {
    this.states.push(state);
  }

  onStats(): void {
    // a file has no reader of statistics
  }

  /** Resolves when everything that was taken is on the disk. */
  async close(): Promise<void> {
    this.#gate.close();
    this.#queue.close();
    await this.#writing;
  }

  async #write(file: FileHandle): Promise<void> {
    try {
      for (let frame = await this.#queue.next(); frame !== undefined; frame = await this.#queue.next()) {
        await this.#options.beforeWrite?.();
        await file.write(frame.data);
        this.framesWritten += 1;
        this.bytesWritten += frame.data.length;
      }
    } finally {
      await file.close();
    }
  }
}
