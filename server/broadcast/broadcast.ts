import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { isBPicture } from '../media/h264-slice.ts';
import { RtpClock } from '../media/rtp-clock.ts';
import { TIMED_STEPS, type FrameTrace } from '../media/steps.ts';
import type { AccessUnit, DropReason, EncodedFrame, MonotonicUs, SourceCodec } from '../media/types.ts';
import type { Metrics } from '../metrics.ts';
import type { Arrivals } from './arrivals.ts';
import { Audience } from './audience.ts';
import { AudioRelay } from './audio-relay.ts';
import { FrameMeter } from './frame-meter.ts';
import { Intake } from './intake.ts';
import { Ownership, type Right } from './ownership.ts';
import { PipelineLink } from './pipeline-link.ts';
import type { Places } from './places.ts';
import type { PipelineFactory } from './ports.ts';
import { changed, type BroadcastSettings } from './settings.ts';
import type { Source, SourceSink } from './source.ts';
import type { BroadcastStats, BroadcastSummary, ModelSummary, SessionState } from './statistics.ts';
import type { Subscriber, Subscription } from './subscriber.ts';
import { summarize } from './summary.ts';

export interface BroadcastDependencies {
  readonly createPipeline: PipelineFactory;
  /** Of this broadcast at its start. */
  readonly settings: BroadcastSettings;
  readonly places: Places;
  readonly arrivals: Arrivals;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly nowUs: () => MonotonicUs;
  /** What the model is before the pipeline has said so itself. */
  readonly model: ModelSummary;
  /** The engine that all streams share is gone for good. */
  readonly onEngineFailed: (error: AppError) => void;
  /** The list of broadcasts has changed. */
  readonly onChange: () => void;
  /** A frame has gone all the way (trace files). */
  readonly onFrameSent?: ((name: string, frame: EncodedFrame, trace: FrameTrace) => void) | undefined;
}

/** The permission to bring a source; release() gives it back unless attach() has used it. */
export interface Claim {
  /**
   * Makes the source the broadcast's, in place of the one it has.
   * @returns the token that lets the same owner come back
   * @throws AppError broadcast.nameTaken: another source came while this one was being made
   */
  attach(source: Source): string;
  /** Idempotent. */
  release(): void;
}

/** One name: at most one source, one pipeline, any number of subscribers. */
export class Broadcast {
  readonly name: string;
  /** Lives as long as the broadcast, so that media time goes on when another source takes over. */
  readonly clock = new RtpClock();
  readonly #deps: BroadcastDependencies;
  readonly #log: Log;
  readonly #ownership: Ownership;
  readonly #link: PipelineLink;
  readonly #audience: Audience;
  readonly #audio: AudioRelay;
  readonly #meter: FrameMeter;
  #settings: BroadcastSettings;
  /** Callers that are about to add a source or a subscriber. */
  #holds = 0;
  #ingestDrops: Partial<Record<DropReason, number>> = {};
  #timestampsReplaced = 0;
  /** The present source has sent B-frames. */
  #sourceReordered = false;
  #lastMeteredTime = -Infinity;
  #audioErrorAtUs: MonotonicUs = -Infinity;
  #modelDelayMs = 0;
  #state: SessionState = 'waiting';
  #startedAt = new Date();
  #stats: BroadcastStats | undefined;

  constructor(name: string, deps: BroadcastDependencies) {
    this.name = name;
    this.#deps = deps;
    this.#settings = deps.settings;
    this.#log = deps.log.child({ broadcast: name });
    this.#meter = new FrameMeter(deps.nowUs());
    this.#ownership = new Ownership(name);
    this.#link = new PipelineLink(
      { ...deps, name, log: this.#log },
      {
        onFrame: (frame) => this.#onFrame(frame),
        onNeedKeyframe: () => this.#source?.requestKeyframe(),
        onPresentationDelay: (delayMs) => {
          this.#modelDelayMs = delayMs;
          this.#delayAudio();
        },
        onSizes: () => deps.onChange(),
        onCrashed: () => this.#audience.restart(),
        onFailed: (error) => this.#onPipelineFailed(error),
      },
    );
    this.#audience = new Audience(deps.settings, deps.nowUs, {
      setEncoders: (encoders) => this.#link.setEncoders(encoders),
      requestResultKeyframe: (codec, rendition) => this.#link.requestKeyframe(codec, rendition),
      // Its viewers get nothing of a source with B-frames; of a still one it is for the result's.
      requestSourceKeyframe: () => {
        if (!this.#sourceReordered || this.#sourceIsStill) this.#source?.requestKeyframe();
      },
      sourceIsStill: () => this.#sourceIsStill,
      dropped: (reason, frames) => deps.metrics.dropped(reason, frames),
      deferredKeyframes: (count) => deps.metrics.refused('keyframe-request', 'budget', count),
      onEnded: (subscriber) => void this.#onSubscriberGone(subscriber),
    });
    this.#audio = new AudioRelay(
      deps.nowUs,
      (packet) => this.#audience.sendAudio(packet),
      (thrown) => this.#onAudioError(AppError.from(thrown)),
    );
    this.#delayAudio();
  }

  get #source(): Source | undefined {
    return this.#ownership.intake?.source;
  }
  get state(): SessionState {
    return this.#state;
  }
  /** A source is there and has sent a picture. */
  get onAir(): boolean {
    return this.#state === 'live' || this.#state === 'paused';
  }
  /** Of the source's video, once known. */
  get sourceReordered(): boolean {
    return this.#sourceReordered;
  }
  get sourceCodec(): SourceCodec | undefined {
    return this.#source?.getStats().codec;
  }
  get settings(): BroadcastSettings {
    return this.#settings;
  }
  get viewerCount(): number {
    return this.#audience.viewerCount;
  }
  get hasPipeline(): boolean {
    return this.#link.open;
  }
  /** Until when a pipeline is kept for a source that is away; undefined otherwise. */
  get idlePipelineUntilUs(): MonotonicUs | undefined {
    return this.#link.open ? this.#ownership.reservedUntilUs : undefined;
  }
  /** A source is there, or the name is reserved or kept for one. */
  get owned(): boolean {
    return this.#ownership.kind !== 'free' || this.#ownership.kept;
  }
  /** No source, no subscriber and no reservation: it can be forgotten. */
  get idle(): boolean {
    return this.#ownership.kind === 'free' && this.#audience.size === 0 && this.#holds === 0;
  }
  get stats(): BroadcastStats | undefined {
    return this.#stats;
  }
  get pipelineStats() {
    return this.#link.view.stats;
  }
  get bitrateOutBps(): number {
    return this.#audience.bitrateBps;
  }
  /** The result's size, before there is one the largest that is likely. */
  get outputSize(): { readonly width: number; readonly height: number } {
    const format = this.#link.view.format;
    if (format === undefined) return { width: 2560, height: 1440 };
    return { width: format.outputWidth, height: format.outputHeight };
  }

  summary(): BroadcastSummary {
    const format = this.#link.view.format;
    return {
      name: this.name,
      state: this.#state === 'ended' ? 'waiting' : this.#state,
      viewers: this.#audience.viewerCount,
      sourceWidth: format?.sourceWidth ?? 0,
      sourceHeight: format?.sourceHeight ?? 0,
      outputWidth: format?.outputWidth ?? 0,
      outputHeight: format?.outputHeight ?? 0,
      startedAt: this.#startedAt.toISOString(),
    };
  }

  /** Its state for people who debug; no tokens. */
  toJSON(): object {
    return {
      name: this.name,
      state: this.#state,
      ownership: this.#ownership.kind,
      settings: this.#settings,
      source: this.#source,
      pipeline: this.#link,
      audioDelayMs: this.#audio.delayMs,
      audience: this.#audience,
    };
  }

  /** Keeps the broadcast from being forgotten while a source or a subscriber is being made. @returns the end of that */
  hold(): () => void {
    this.#holds += 1;
    let held = true;
    return () => {
      if (held) this.#holds -= 1;
      held = false;
    };
  }

  /**
   * Keeps the name for the source with this token, however long it is away: a pulled source that is configured.
   * @returns the end of that
   * @throws AppError broadcast.nameTaken
   */
  keepFor(token: string): () => void {
    this.#ownership.keepFor(token);
    const release = this.hold();
    this.#deps.onChange();
    return () => {
      this.#ownership.keepFor(undefined);
      release();
      this.#deps.onChange();
    };
  }

  /** @throws AppError config.invalid; then nothing has changed */
  changeSettings(change: Partial<BroadcastSettings>): void {
    this.#settings = changed(this.#settings, change);
    this.#audience.configure(this.#settings);
    this.#link.configure(this.#settings);
    this.#delayAudio();
    this.#log.info({ ...change }, 'broadcast.settings');
  }

  // --- source ---

  /**
   * The first half of bringing a source; between the two its answer is made.
   * @throws AppError broadcast.nameTaken | server.full | request.tooMany
   */
  claim(right: Right, address: string): Claim {
    this.#ownership.check(right.token);
    if (!this.#link.open) this.#deps.places.check();
    let intake: Intake | undefined;
    let evicted: AppError | undefined;
    const arrival = this.#deps.arrivals.enter(address, (error) => {
      evicted = error;
      if (intake !== undefined) void this.#end(intake, 'disconnected', 'replaced', error);
    });
    let open = true;
    return {
      attach: (source) => {
        // Another source may have come while the answer was made.
        this.#ownership.check(right.token);
        if (evicted !== undefined) throw evicted;
        open = false;
        intake = new Intake(source, arrival, this.#deps.nowUs());
        return this.#takeOver(intake, right);
      },
      release: () => {
        if (open) arrival.leave();
        open = false;
      },
    };
  }

  #takeOver(intake: Intake, right: Right): string {
    const { token, wasFree, replaced } = this.#ownership.takeOver(intake, right);
    if (wasFree) this.#startedAt = new Date();
    if (replaced !== undefined) {
      const error = new AppError('broadcast.nameTaken', 'The same publisher connected again elsewhere.');
      void replaced.close('replaced', error);
    }
    this.#audio.clear();
    this.#sourceReordered = false;
    if (!wasFree) this.#link.reset();
    this.#deps.metrics.session('publisher');
    this.#log.info({ resumed: !wasFree }, 'publisher.joined');
    this.#refreshState('publisher connected');
    this.#deps.onChange();
    intake.source.start(this.#sinkOf(intake));
    return token;
  }

  /** Events of a source that has been replaced, or has left, reach nothing. */
  #sinkOf(intake: Intake): SourceSink {
    const present = (act: () => void): void => {
      if (this.#ownership.intake === intake) act();
    };
    return {
      onConnected: () => present(() => intake.onConnected(this.#deps.nowUs())),
      onAccessUnit: (unit) => present(() => this.#onAccessUnit(intake, unit)),
      onVideoPacket: (packet, codec) =>
        present(() => {
          if (!this.#sourceReordered) this.#audience.sendSource(packet, codec);
        }),
      onAudioPacket: (packet) => present(() => this.#audio.push(packet)),
      onDrop: (reason, frames) => present(() => this.#onIngestDrop(reason, frames)),
      onEnded: (reason, error) => void this.#end(intake, 'disconnected', reason, error),
    };
  }

  /** After `request` the name is free at once; otherwise it stays reserved for resumeSeconds if a picture has come. */
  async detach(source: Source, cause: 'request' | 'disconnected'): Promise<void> {
    const intake = this.#ownership.intake;
    if (intake?.source === source) await this.#end(intake, cause);
    else await source.close();
  }

  async #end(intake: Intake, cause: 'request' | 'disconnected', reason?: string, error?: AppError): Promise<void> {
    if (this.#ownership.intake === intake) {
      const untilUs = this.#deps.nowUs() + this.#settings.resumeSeconds * 1e6;
      this.#ownership.release(cause === 'request' ? undefined : untilUs);
      this.#audio.clear();
      if (this.#ownership.kind === 'free') void this.#closePipeline();
      else this.#link.reset();
      this.#log.info({ cause, reason, code: error?.code }, 'publisher.left');
      this.#refreshState(cause === 'request' ? 'publisher left' : 'publisher lost');
      this.#deps.onChange();
    }
    await intake.close(reason, error);
  }

  #onAccessUnit(intake: Intake, unit: AccessUnit): void {
    this.#deps.metrics.frame('received');
    if (intake.onUnit(unit.assembledAtUs)) this.#startPipeline(intake);
    if (unit.keyframe) this.#audience.onSourceKeyframe();
    else if (!this.#sourceReordered && unit.codec === 'H264' && isBPicture(unit.data)) this.#onBFrames();
    this.#audience.sendSourceUnit(unit);
    // It may hand the unit's memory over to the worker.
    this.#link.push(unit);
    if (this.#state !== 'live') this.#refreshState('first picture');
  }

  /** Browsers show pictures in the order of their packets: the source of this session is not forwarded any more. */
  #onBFrames(): void {
    this.#sourceReordered = true;
    this.#log.info({ codec: 'H264' }, 'source.notForwarded');
  }

  #onIngestDrop(reason: DropReason, frames: number): void {
    this.#ingestDrops = { ...this.#ingestDrops, [reason]: (this.#ingestDrops[reason] ?? 0) + frames };
    this.#deps.metrics.dropped(reason, frames);
  }

  // --- pipeline ---

  get #sourceIsStill(): boolean {
    return this.#ownership.intake?.isStill(this.#deps.nowUs()) ?? false;
  }

  /** With the first picture: offers that never connect, and connections that send nothing, take no place. */
  #startPipeline(intake: Intake): void {
    if (this.#link.open) return this.#ownership.prove();
    const place = this.#deps.places.tryTake();
    if (place === undefined) void this.#waitForPlace(intake);
    else this.#openPipeline(place);
  }

  async #waitForPlace(intake: Intake): Promise<void> {
    try {
      const place = await this.#deps.places.take(intake.ended);
      if (this.#ownership.intake !== intake || this.#link.open) return place.release();
      this.#openPipeline(place);
      intake.source.requestKeyframe();
    } catch (thrown) {
      if (intake.ended.aborted) return;
      const error = AppError.from(thrown);
      this.#deps.metrics.refused('broadcast', 'limits');
      await this.#end(intake, 'disconnected', 'server is full', error);
    }
  }

  #openPipeline(place: Parameters<PipelineLink['start']>[0]): void {
    this.#ownership.prove();
    this.#link.start(place, this.#settings);
    this.#audience.reapply();
  }

  /** Its place is needed by a source that is there; the name stays reserved. */
  releasePipeline(): void {
    void this.#closePipeline();
  }

  async #closePipeline(): Promise<void> {
    this.#audience.restart();
    await this.#link.close();
  }

  #onPipelineFailed(error: AppError): void {
    const intake = this.#ownership.intake;
    if (intake === undefined) void this.#closePipeline();
    else void this.#end(intake, 'request', 'pipeline failed', error);
  }

  #onFrame(frame: EncodedFrame): void {
    this.#audience.sendResult(frame);
    // One picture may be encoded for several codecs and renditions; it is metered once.
    if (frame.rendition !== 'full' || frame.mediaTime <= this.#lastMeteredTime) return;
    this.#lastMeteredTime = frame.mediaTime;
    const { metrics } = this.#deps;
    const trace = { ...frame.trace, sentAtUs: this.#deps.nowUs() };
    const sample = this.#meter.add(frame, trace);
    this.#deps.onFrameSent?.(this.name, frame, trace);
    metrics.frame('sent');
    for (const step of TIMED_STEPS) metrics.step(step, sample.steps[`${step}Ms`]);
    metrics.step('added', sample.addedMs);
  }

  // --- audio ---

  /** The model's presentation delay, unless a setting names a delay. */
  #delayAudio(): void {
    const { audioDelayMs } = this.#settings;
    this.#audio.setDelay(audioDelayMs === 'auto' ? this.#modelDelayMs : audioDelayMs);
  }

  /** Counted always, logged once a second: audio has fifty packets a second. */
  #onAudioError(error: AppError): void {
    this.#deps.metrics.error(error.code);
    const nowUs = this.#deps.nowUs();
    if (nowUs - this.#audioErrorAtUs < 1_000_000) return;
    this.#audioErrorAtUs = nowUs;
    this.#log.error({ code: error.code, reason: error.message, stack: error.stack }, 'audio.error');
  }

  // --- subscribers ---

  /** A viewer, a recorder, a relay: it gets frames as soon as it says that it has started. */
  subscribe<T extends Subscriber>(open: (subscription: Subscription) => T): T {
    const subscriber = this.#audience.subscribe(open);
    this.#log.info({ viewers: this.#audience.viewerCount }, `${subscriber.kind}.joined`);
    this.#deps.onChange();
    return subscriber;
  }

  async unsubscribe(id: string): Promise<void> {
    const subscriber = this.#audience.remove(id);
    if (subscriber !== undefined) await this.#onSubscriberGone(subscriber);
  }

  async #onSubscriberGone(subscriber: Subscriber): Promise<void> {
    this.#log.info({ viewers: this.#audience.viewerCount }, `${subscriber.kind}.left`);
    this.#deps.onChange();
    await subscriber.close();
  }

  // --- time ---

  #refreshState(reason: string): void {
    const intake = this.#ownership.intake;
    const state = intake?.state(this.#deps.nowUs(), this.#settings.pauseAfterMs) ?? 'waiting';
    intake?.pushState(state, reason);
    if (state === this.#state) return;
    this.#state = state;
    this.#audience.pushState(state, reason);
    this.#deps.onChange();
  }

  /** Once a second: states that follow from silence, bit rates, statistics. */
  tick(): void {
    const nowUs = this.#deps.nowUs();
    if (this.#ownership.expire(nowUs)) {
      void this.#closePipeline();
      this.#deps.onChange();
    }
    const intake = this.#ownership.intake;
    const overdue = intake?.overdue(nowUs);
    if (intake !== undefined && overdue !== undefined) void this.#end(intake, 'disconnected', 'gave up', overdue);
    this.#refreshState('no picture arrives');
    this.#audience.adapt(nowUs);
    const source = this.#source?.getStats();
    this.#noteTimestamps(source?.timestampsReplaced ?? this.#timestampsReplaced);
    this.#stats = summarize({
      model: this.#deps.model,
      pipeline: this.#link.view,
      source,
      frames: this.#meter.take(nowUs),
      upscaledPerSecond: this.#link.takeUpscaled(),
      codec: this.#audience.mainCodec,
      ingestDrops: this.#ingestDrops,
      viewers: this.#audience.viewerCount,
      audioDelayMs: this.#audio.delayMs,
      sourceForwarded: !this.#sourceReordered,
    });
    this.#source?.onStats(this.#stats);
    this.#audience.pushStats(this.#stats);
  }

  /** At most a line a second; the publisher reads the same in its statistics. */
  #noteTimestamps(replaced: number): void {
    if (replaced > this.#timestampsReplaced) this.#log.warn({ replaced }, 'publisher.timestamps');
    this.#timestampsReplaced = replaced;
  }

  async close(reason: string, error: AppError): Promise<void> {
    const intake = this.#ownership.intake;
    this.#ownership.clear();
    this.#audio.clear();
    await Promise.all([intake?.close(reason, error), this.#audience.close(reason, error), this.#closePipeline()]);
  }
}
