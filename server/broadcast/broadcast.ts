import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { RtpClock } from '../media/rtp-clock.ts';
import type { AccessUnit, MonotonicUs, SourceCodec } from '../media/types.ts';
import { Audience } from './audience.ts';
import { AudioRelay } from './audio-relay.ts';
import type { BroadcastDetail } from './detail.ts';
import { Intake } from './intake.ts';
import { Ownership, type Right } from './ownership.ts';
import { PipelineLink } from './pipeline-link.ts';
import type { BroadcastDependencies } from './ports.ts';
import { SentFrames } from './sent-frames.ts';
import { changed, type BroadcastSettings } from './settings.ts';
import type { Claim, Source, SourceSink } from './source.ts';
import { SourceWatch } from './source-watch.ts';
import type { BroadcastStats, BroadcastSummary, SessionState } from './statistics.ts';
import type { Subscriber, Subscription } from './subscriber.ts';
import { summarize } from './summary.ts';

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
  readonly #sent: SentFrames;
  readonly #watch: SourceWatch;
  #settings: BroadcastSettings;
  /** Callers that are about to add a source or a subscriber. */
  #holds = 0;
  #state: SessionState = 'waiting';
  #startedAt = new Date();
  #stats: BroadcastStats | undefined;

  constructor(name: string, deps: BroadcastDependencies) {
    this.name = name;
    this.#deps = deps;
    this.#settings = deps.settings;
    this.#log = deps.log.child({ broadcast: name });
    this.#sent = new SentFrames(name, deps);
    this.#watch = new SourceWatch(this.#log, deps.metrics);
    this.#ownership = new Ownership(name);
    this.#link = new PipelineLink(
      { ...deps, name, log: this.#log },
      {
        onFrame: (frame) => {
          this.#audience.sendResult(frame);
          this.#sent.add(frame);
        },
        onNeedKeyframe: () => this.#source?.requestKeyframe(),
        onPresentationDelay: (delayMs) => this.#audio.setModelDelay(delayMs),
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
        if (!this.#watch.reordered || this.#sourceIsStill) this.#source?.requestKeyframe();
      },
      sourceIsStill: () => this.#sourceIsStill,
      dropped: (reason, frames) => deps.metrics.dropped(reason, frames),
      deferredKeyframes: (count) => deps.metrics.refused('keyframe-request', 'budget', count),
      onEnded: (subscriber) => void this.#onSubscriberGone(subscriber),
    });
    this.#audio = new AudioRelay(deps.settings.audioDelayMs, {
      ...{ nowUs: deps.nowUs, log: this.#log, metrics: deps.metrics },
      send: (packet) => this.#audience.sendAudio(packet),
    });
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
    return this.#watch.reordered;
  }
  /** Its video can be forwarded: of some codecs a pulled source has access units alone. */
  get sourcePacketized(): boolean {
    return this.#source?.packetized ?? true;
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
    const { outputWidth: width, outputHeight: height } = this.#link.sizes;
    return width === 0 ? { width: 2560, height: 1440 } : { width, height };
  }

  summary(): BroadcastSummary {
    return {
      name: this.name,
      state: this.#state === 'ended' ? 'waiting' : this.#state,
      viewers: this.#audience.viewerCount,
      ...this.#link.sizes,
      startedAt: this.#startedAt.toISOString(),
    };
  }

  detail(): BroadcastDetail {
    const sessions = this.#audience.viewers();
    return { ...this.summary(), settings: this.#settings, stats: this.#stats ?? null, sessions };
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
    this.#audio.configure(this.#settings.audioDelayMs);
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
    this.#watch.begin();
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
          if (!this.#watch.reordered) this.#audience.sendSource(packet, codec);
        }),
      onAudioPacket: (packet) => present(() => this.#audio.push(packet)),
      onDrop: (reason, frames) => present(() => this.#watch.onDrop(reason, frames)),
      onEnded: (reason, error) => void this.#end(intake, 'disconnected', reason, error),
    };
  }

  /** After `request` the name is free at once; otherwise it stays reserved for resumeSeconds if a picture has come. */
  async detach(source: Source, cause: 'request' | 'disconnected'): Promise<void> {
    const intake = this.#ownership.intake;
    if (intake?.source === source) await this.#end(intake, cause);
    else await source.close();
  }

  /** The server ends a source: its name is free at once, and its client learns why. */
  async dismiss(source: Source, reason: string, error: AppError): Promise<void> {
    const intake = this.#ownership.intake;
    if (intake?.source === source) await this.#end(intake, 'request', reason, error);
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
    this.#watch.onUnit(unit);
    this.#audience.sendSourceUnit(unit);
    // It may hand the unit's memory over to the worker.
    this.#link.push(unit);
    if (this.#state !== 'live') this.#refreshState('first picture');
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
    if (source !== undefined) this.#watch.onStats(source);
    this.#stats = summarize({
      model: this.#deps.model,
      pipeline: this.#link.view,
      source,
      frames: this.#sent.take(nowUs),
      upscaledPerSecond: this.#link.takeUpscaled(),
      codec: this.#audience.mainCodec,
      ingestDrops: this.#watch.drops,
      viewers: this.#audience.viewerCount,
      audioDelayMs: this.#audio.delayMs,
      sourceForwarded: !this.#watch.reordered,
    });
    this.#source?.onStats(this.#stats);
    this.#audience.pushStats(this.#stats);
  }

  async close(reason: string, error: AppError): Promise<void> {
    const intake = this.#ownership.intake;
    this.#ownership.clear();
    this.#audio.clear();
    await Promise.all([intake?.close(reason, error), this.#audience.close(reason, error), this.#closePipeline()]);
  }
}
