import { AppError } from '../errors.ts';
import { EgressQueue, type EgressQueueLimits } from '../broadcast/egress-queue.ts';
import { KeyframeGate } from '../broadcast/keyframe-gate.ts';
import type { BroadcastStats } from '../broadcast/statistics.ts';
import type { SubscriberState, Subscription } from '../broadcast/subscriber.ts';
import type { AccessUnit, EncodedFrame, Rendition, ResultCodec } from '../media/types.ts';
import type { ForwardPacket } from '../rtc/peers.ts';
import type { MediaItem, MuxTarget } from './muxer/messages.ts';
import type { MuxerProcess } from './muxer/muxer-process.ts';
import type { MuxerSession } from './muxer/muxer-session.ts';
import type { OutputRun, RunEvents, RunProgress } from './output-kind.ts';

export interface MuxedOutputOptions {
  readonly id: string;
  readonly kind: 'recorder' | 'relay';
  readonly track: 'result' | 'source';
  /** Of the result, which the container takes. */
  readonly codec: ResultCodec;
  readonly process: MuxerProcess;
  /** Where to; a name is looked up and checked first. */
  readonly target: MuxTarget | Promise<MuxTarget>;
  readonly queue?: Partial<EgressQueueLimits>;
  /** The target has been left. */
  readonly onClosed?: () => void;
}

/** Four seconds of 60 frames/s and 50 packets of sound: a disk that pauses loses nothing. */
const QUEUE: EgressQueueLimits = { maxFrames: 440, maxBytes: 32 * 1024 * 1024 };

/** What waits when the run ends is written within this time, or not at all. */
const DRAIN_MS = 1_000;

/** A subscriber whose frames a muxer's process writes. Between the two stands a bounded queue, so that it never waits. */
export class MuxedOutput implements OutputRun {
  readonly id: string;
  readonly kind: 'recorder' | 'relay';
  readonly codec: ResultCodec;
  readonly wantsSource = false;
  readonly #track: 'result' | 'source';
  readonly #subscription: Subscription;
  readonly #events: RunEvents;
  readonly #gate = new KeyframeGate();
  readonly #queue: EgressQueue<MediaItem>;
  readonly #process: MuxerProcess;
  readonly #working: Promise<void>;
  readonly #onClosed: (() => void) | undefined;
  #session: MuxerSession | undefined;
  #target = '';
  #soundExpected: boolean | undefined;
  #frames = 0;
  #bytes = 0;
  #bytesBefore = 0;
  #bitrateBps = 0;
  #dropped = 0;
  #closing: Promise<void> | undefined;

  constructor(options: MuxedOutputOptions, subscription: Subscription, events: RunEvents) {
    this.id = options.id;
    this.kind = options.kind;
    this.codec = options.codec;
    this.#track = options.track;
    this.#subscription = subscription;
    this.#events = events;
    this.#queue = new EgressQueue({ ...QUEUE, ...options.queue });
    this.#process = options.process;
    this.#onClosed = options.onClosed;
    this.#working = this.#work(options.target);
  }

  get state(): SubscriberState {
    return this.#gate.state;
  }
  get renditions(): readonly Rendition[] {
    return this.#track === 'result' ? this.#gate.renditions : [];
  }
  get bitrateBps(): number {
    return this.#bitrateBps;
  }
  get progress(): RunProgress {
    return { target: this.#target, frames: this.#frames, bytes: this.#bytes, dropped: this.#dropped };
  }

  /** It has no say in the bit rate, and always gets the full rendition. */
  report(): undefined {
    return undefined;
  }

  want(): boolean {
    return false;
  }

  restart(): void {
    this.#gate.restart();
  }

  onResult(frame: EncodedFrame): void {
    if (this.#track !== 'result' || frame.codec !== this.codec || !this.#gate.admits(frame)) return;
    const { codec, data, mediaTime, keyframe, width, height } = frame;
    this.#offer({ type: 'video', codec, data, mediaTime, keyframe, size: { width, height } });
  }

  onSource(): void {
    // Whole pictures come by onSourceUnit().
  }

  onSourceUnit({ codec, data, mediaTime, keyframe }: AccessUnit): void {
    if (this.#track !== 'source' || !this.#gate.admits({ keyframe, rendition: 'full' })) return;
    this.#offer({ type: 'video', codec, data: Uint8Array.from(data), mediaTime, keyframe, size: undefined });
  }

  onAudio({ payload, mediaTime }: ForwardPacket): void {
    if (this.#gate.open) this.#queue.push({ type: 'audio', data: payload, mediaTime });
  }

  onState(): void {
    // The service follows the broadcast.
  }

  onStats({ audio }: BroadcastStats): void {
    this.#bitrateBps = (this.#bytes - this.#bytesBefore) * 8;
    this.#bytesBefore = this.#bytes;
    if (audio.present === this.#soundExpected) return;
    this.#soundExpected = audio.present;
    this.#session?.expectSound(audio.present);
  }

  /** Resolves when everything that was taken is written and the file is complete. */
  close(): Promise<void> {
    this.#closing ??= this.#close().finally(this.#onClosed);
    return this.#closing;
  }

  toJSON(): object {
    const { kind, state, progress } = this;
    return { kind, state, ...progress, queued: this.#queue.frames, session: this.#session };
  }

  /** Never throws: what goes wrong is reported. */
  async #work(target: MuxTarget | Promise<MuxTarget>): Promise<void> {
    try {
      // At the earliest when the constructor has returned: the broadcast counts the subscriber only then.
      const checked = await target;
      if (this.#closing !== undefined) return;
      const session = this.#process.open(checked, {
        onRunning: (label) => {
          this.#target = label;
          this.#events.running();
        },
        onNeedKeyframe: () => this.#subscription.requestKeyframe(this.#track),
        onFailed: (error) => this.#onFailed(error),
      });
      this.#session = session;
      if (this.#soundExpected === true) session.expectSound(true);
      if (this.#gate.connected()) this.#subscription.started();
      if (this.#track === 'source') this.#subscription.requestKeyframe('source');
      await this.#write(session);
    } catch (thrown) {
      this.#onFailed(AppError.from(thrown));
    }
  }

  #offer(item: MediaItem): void {
    if (this.#queue.push(item)) return;
    this.#dropped += 1;
    this.#gate.restart();
    this.#subscription.dropped('egress-slow', 1);
    this.#subscription.requestKeyframe(this.#track);
  }

  async #write(session: MuxerSession): Promise<void> {
    for (let item = await this.#queue.next(); item !== undefined; item = await this.#queue.next()) {
      if (!(await session.ready())) return;
      session.send(item);
      this.#bytes += item.data.length;
      if (item.type === 'video') this.#frames += 1;
    }
  }

  #onFailed(error: AppError): void {
    this.#gate.close();
    this.#queue.close();
    this.#events.failed(error);
  }

  async #close(): Promise<void> {
    this.#gate.close();
    this.#queue.close();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, DRAIN_MS)));
    await Promise.race([this.#working, late]);
    clearTimeout(timer);
    await this.#session?.close();
  }
}
