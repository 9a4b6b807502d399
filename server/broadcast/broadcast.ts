import { randomBytes } from 'node:crypto';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { UpscalerInfo } from '../upscalers/upscaler.ts';
import type { Log } from '../log.ts';
import type { AccessUnit, DropReason, EncodedFrame, MonotonicUs } from '../media/types.ts';
import { RtpClock } from '../media/rtp-clock.ts';
import type { Metrics } from '../metrics.ts';
import type { PipelineFormat, PipelineStats } from '../pipeline/messages.ts';
import { presentationDelayMs } from '../pipeline/presentation.ts';
import type { PeerState, RtcStack } from '../rtc/peers.ts';
import type { SessionSink } from './sessions.ts';
import { AudioRelay } from './audio-relay.ts';
import { Audience } from './audience.ts';
import { FrameMeter, STEPS } from './frame-meter.ts';
import type { PipelineFactory, PipelinePort } from './ports.ts';
import { Publisher } from './publisher.ts';
import { summarize, type PipelineView } from './summary.ts';
import type { Subscriber, Subscription } from './subscriber.ts';
import { Viewer } from './viewer.ts';
import type { BroadcastStats, BroadcastSummary, ModelSummary, SessionState } from './statistics.ts';

export interface BroadcastDependencies {
  readonly rtc: RtcStack;
  readonly createPipeline: PipelineFactory;
  readonly config: Config;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly nowUs: () => MonotonicUs;
  /** What the model is before the pipeline has said so itself. */
  readonly model: ModelSummary;
  /** Resolves when one more pipeline may run. @throws AppError server.full */
  readonly admit: () => Promise<void>;
  /** A pipeline is being closed; it takes its place until the promise settles. */
  readonly onPipelineClosing: (closed: Promise<void>) => void;
  /** The engine that all streams share is gone for good. */
  readonly onEngineFailed: (error: AppError) => void;
  /** The list of broadcasts would read differently now. */
  readonly onChange: () => void;
}

/** What the audio's delay is computed for until the pipeline knows the source's rate. */
const NOMINAL_FPS = 30;

/** Who holds the name. */
type Ownership =
  | { readonly kind: 'free' }
  | { readonly kind: 'publishing'; readonly token: string; readonly publisher: Publisher }
  /** The publisher is gone; the name and the pipeline are kept for its return. */
  | { readonly kind: 'reserved'; readonly token: string; readonly untilUs: MonotonicUs };

function sameSizes(a: PipelineFormat, b: PipelineFormat): boolean {
  return (
    a.sourceWidth === b.sourceWidth &&
    a.sourceHeight === b.sourceHeight &&
    a.outputWidth === b.outputWidth &&
    a.outputHeight === b.outputHeight
  );
}

/** One name: at most one publisher, one pipeline, any number of viewers. */
export class Broadcast {
  readonly name: string;
  readonly #deps: BroadcastDependencies;
  readonly #log: Log;
  readonly #audience: Audience;
  readonly #audio: AudioRelay;
  /** Lives as long as the broadcast, so that media time goes on when another connection takes over. */
  readonly #clock = new RtpClock();
  readonly #meter: FrameMeter;
  #ownership: Ownership = { kind: 'free' };
  /** Publishers whose answer is being made. */
  #arriving = 0;
  #pipeline: PipelinePort | undefined;
  #pipelineView: PipelineView = {
    info: undefined,
    format: undefined,
    stats: undefined,
    rung: 0,
    rungLabel: '',
    rungCause: 'load',
  };
  #upscaledBefore = 0;
  #keyframesBefore = 0;
  #dropsBefore: Partial<Record<DropReason, number>> = {};
  #ingestDrops: Partial<Record<DropReason, number>> = {};
  #timestampsReplaced = 0;
  #lastMeteredTime = -Infinity;
  #audioErrorAtUs: MonotonicUs = -Infinity;
  #state: SessionState = 'waiting';
  #startedAt = new Date();
  #stats: BroadcastStats | undefined;

  constructor(name: string, deps: BroadcastDependencies) {
    this.name = name;
    this.#deps = deps;
    this.#log = deps.log.child({ broadcast: name });
    this.#meter = new FrameMeter(deps.nowUs());
    this.#audience = new Audience(
      deps.config.media,
      {
        setEncoders: (encoders) => this.#pipeline?.setEncoders(encoders),
        requestResultKeyframe: (codec, rendition) => this.#pipeline?.requestKeyframe(codec, rendition),
        requestSourceKeyframe: (reason) => this.#publisher?.peer.requestKeyframe(reason),
        dropped: (reason, frames) => deps.metrics.dropped(reason, frames),
        onEnded: (subscriber) => void this.#onSubscriberGone(subscriber),
      },
      deps.nowUs,
    );
    this.#audio = new AudioRelay(
      deps.nowUs,
      (packet) => this.#audience.sendAudio(packet),
      (thrown) => this.#onAudioError(AppError.from(thrown)),
    );
    this.#delayAudio(0);
  }

  get #publisher(): Publisher | undefined {
    return this.#ownership.kind === 'publishing' ? this.#ownership.publisher : undefined;
  }
  get state(): SessionState {
    return this.#state;
  }
  get viewerCount(): number {
    return this.#audience.size;
  }
  get hasPipeline(): boolean {
    return this.#pipeline !== undefined;
  }
  /** Until when a pipeline is kept for a publisher that is away; undefined otherwise. */
  get idlePipelineUntilUs(): MonotonicUs | undefined {
    return this.#pipeline !== undefined && this.#ownership.kind === 'reserved' ? this.#ownership.untilUs : undefined;
  }
  /** Somebody publishes under this name or has it reserved. */
  get owned(): boolean {
    return this.#ownership.kind !== 'free';
  }
  get pipelineStats(): PipelineStats | undefined {
    return this.#pipelineView.stats;
  }
  /** Nobody publishes, watches or holds the name: it can be forgotten. */
  get idle(): boolean {
    return this.#ownership.kind === 'free' && this.#audience.size === 0 && this.#arriving === 0;
  }
  get stats(): BroadcastStats | undefined {
    return this.#stats;
  }

  summary(): BroadcastSummary {
    const format = this.#pipelineView.format;
    return {
      name: this.name,
      state: this.#state === 'ended' ? 'waiting' : this.#state,
      viewers: this.#audience.size,
      sourceWidth: format?.sourceWidth ?? 0,
      sourceHeight: format?.sourceHeight ?? 0,
      outputWidth: format?.outputWidth ?? 0,
      outputHeight: format?.outputHeight ?? 0,
      startedAt: this.#startedAt.toISOString(),
    };
  }

  // --- publisher ---

  /** @throws AppError broadcast.nameTaken | server.full | sdp.* ; on an error everything is as before the call */
  async publish(
    session: string,
    sdp: string,
    resumeToken: string | undefined,
    sink: SessionSink,
  ): Promise<{ sdp: string; resumeToken: string; publisher: Publisher }> {
    this.#arriving += 1;
    try {
      return await this.#publish(session, sdp, resumeToken, sink);
    } finally {
      this.#arriving -= 1;
    }
  }

  async #publish(
    session: string,
    sdp: string,
    resumeToken: string | undefined,
    sink: SessionSink,
  ): Promise<{ sdp: string; resumeToken: string; publisher: Publisher }> {
    this.#checkOwner(resumeToken);
    if (this.#pipeline === undefined) await this.#deps.admit();
    const publisher = new Publisher(session, this.#deps.rtc, sink, this.#clock);
    try {
      const answer = await publisher.peer.accept(sdp);
      if (this.#pipeline === undefined) await this.#deps.admit();
      // Another publisher may have come while the answer was made.
      this.#checkOwner(resumeToken);
      const token = this.#takeOver(publisher);
      return { sdp: answer, resumeToken: token, publisher };
    } catch (error) {
      await publisher.close();
      throw error;
    }
  }

  #checkOwner(token: string | undefined): void {
    const owner = this.#ownership;
    if (owner.kind === 'free' || owner.token === token) return;
    throw new AppError('broadcast.nameTaken', `The name "${this.name}" belongs to another publisher.`, {
      context: { name: this.name },
    });
  }

  #takeOver(publisher: Publisher): string {
    const before = this.#ownership;
    const token = before.kind === 'free' ? randomBytes(24).toString('base64url') : before.token;
    if (before.kind === 'free') this.#startedAt = new Date();
    if (before.kind === 'publishing') {
      const error = new AppError('broadcast.nameTaken', 'The same publisher connected again elsewhere.');
      void before.publisher.close({ reason: 'replaced', error });
    }
    this.#audio.clear();
    this.#openPipeline();
    if (before.kind !== 'free') this.#pipeline?.reset();
    this.#ownership = { kind: 'publishing', token, publisher };
    publisher.attach({
      onPublisherState: (from, state, cause) => this.#onPublisherState(from, state, cause),
      onAccessUnit: (unit) => this.#onAccessUnit(unit),
      onVideoPacket: (packet, codec) => this.#audience.sendSource(packet, codec),
      onAudioPacket: (packet) => this.#audio.push(packet),
      onDrop: (reason, count) => this.#onIngestDrop(reason, count),
    });
    this.#deps.metrics.session('publisher');
    this.#log.info({ resumed: before.kind !== 'free' }, 'publisher.joined');
    this.#refreshState('publisher connected');
    this.#deps.onChange();
    return token;
  }

  #onPublisherState(publisher: Publisher, state: PeerState, cause?: AppError): void {
    this.#log.debug({ state }, 'publisher.state');
    if (state !== 'closed') return;
    const error = cause ?? new AppError('peer.connection', 'The connection to the publisher was lost.');
    void this.unpublish(publisher, 'disconnected', { reason: 'connection lost', error });
  }

  /** After `request` the name is free at once; otherwise it stays reserved for broadcast.resumeSeconds. */
  async unpublish(
    publisher: Publisher,
    cause: 'request' | 'disconnected',
    told?: { readonly reason: string; readonly error: AppError },
  ): Promise<void> {
    const owner = this.#ownership;
    if (owner.kind === 'publishing' && owner.publisher === publisher) {
      const untilUs = this.#deps.nowUs() + this.#deps.config.broadcast.resumeSeconds * 1e6;
      this.#ownership = cause === 'request' ? { kind: 'free' } : { kind: 'reserved', token: owner.token, untilUs };
      this.#audio.clear();
      if (cause === 'request') void this.#closePipeline();
      else this.#pipeline?.reset();
      this.#log.info({ cause }, 'publisher.left');
      this.#refreshState(cause === 'request' ? 'publisher left' : 'publisher lost');
      this.#deps.onChange();
    }
    await publisher.close(told);
  }

  // --- pipeline ---

  #openPipeline(): void {
    if (this.#pipeline !== undefined) return;
    this.#pipeline = this.#deps.createPipeline(this.name, {
      onReady: (info) => this.#onReady(info),
      onFormat: (format) => this.#onFormat(format),
      onFrame: (frame) => this.#onFrame(frame),
      onNeedKeyframe: (reason) => this.#publisher?.peer.requestKeyframe(reason),
      onLadder: ({ rung, cause, reason }, rungLabel) => {
        this.#pipelineView = { ...this.#pipelineView, rung, rungLabel, rungCause: cause };
        this.#log.warn({ rung, rungLabel, cause, reason }, 'ladder.moved');
      },
      onStats: (stats) => this.#onPipelineStats(stats),
      onError: (error) => this.#onPipelineError(error),
    });
    this.#audience.reapply();
  }

  /** Its place is needed by a publisher that is there; the name stays reserved. */
  releasePipeline(): void {
    void this.#closePipeline();
  }

  async #closePipeline(): Promise<void> {
    const pipeline = this.#pipeline;
    this.#pipeline = undefined;
    this.#pipelineView = { ...this.#pipelineView, format: undefined, stats: undefined };
    this.#upscaledBefore = 0;
    this.#keyframesBefore = 0;
    this.#dropsBefore = {};
    this.#audience.restart();
    if (pipeline === undefined) return;
    const closed = pipeline.close();
    this.#deps.onPipelineClosing(closed);
    await closed;
  }

  #onReady(info: UpscalerInfo): void {
    this.#pipelineView = { ...this.#pipelineView, info, rung: 0, rungLabel: info.rungs[0] ?? info.label };
    this.#delayAudio(presentationDelayMs(info, NOMINAL_FPS));
    this.#log.info({ model: info.label, device: info.device }, 'pipeline.ready');
  }

  /** @param automaticMs the model's presentation delay, unless the configuration names a delay */
  #delayAudio(automaticMs: number): void {
    const setting = this.#deps.config.media.audioDelayMs;
    this.#audio.setDelay(setting === 'auto' ? automaticMs : setting);
  }

  #onFormat(format: PipelineFormat): void {
    const before = this.#pipelineView.format;
    this.#pipelineView = { ...this.#pipelineView, format };
    // Chunked kinds find their delay by measuring, within the first seconds.
    if (format.presentationDelayMs !== undefined) this.#delayAudio(format.presentationDelayMs);
    if (before !== undefined && sameSizes(before, format)) {
      this.#log.debug({ presentationDelayMs: format.presentationDelayMs }, 'pipeline.delay');
      return;
    }
    this.#log.info({ ...format }, 'pipeline.format');
    this.#deps.onChange();
  }

  #onFrame(frame: EncodedFrame): void {
    this.#audience.sendResult(frame);
    // One picture may be encoded for several codecs and rungs; it is metered once.
    if (frame.rendition !== 'full' || frame.mediaTime <= this.#lastMeteredTime) return;
    this.#lastMeteredTime = frame.mediaTime;
    const { metrics } = this.#deps;
    const sample = this.#meter.add(frame, this.#deps.nowUs());
    metrics.frame('sent');
    for (const step of STEPS) metrics.step(step, sample[`${step}Ms`]);
    metrics.step('added', sample.addedMs);
  }

  #onPipelineStats(stats: PipelineStats): void {
    this.#pipelineView = { ...this.#pipelineView, stats };
    for (const [reason, total] of Object.entries(stats.drops) as [DropReason, number][]) {
      // A restarted worker counts from zero again.
      const before = Math.min(this.#dropsBefore[reason] ?? 0, total);
      this.#deps.metrics.dropped(reason, total - before);
    }
    this.#dropsBefore = { ...stats.drops };
    const keyframes = stats.keyframesEncoded - Math.min(this.#keyframesBefore, stats.keyframesEncoded);
    this.#keyframesBefore = stats.keyframesEncoded;
    this.#deps.metrics.keyframes(keyframes);
  }

  #onPipelineError(error: AppError): void {
    this.#deps.metrics.error(error.code);
    this.#log.warn({ code: error.code, scope: error.scope, reason: error.message }, 'pipeline.error');
    if (error.scope === 'frame' || error.code === 'pipeline.crashed') {
      // The worker was restarted or skipped a frame: viewers start again at a keyframe.
      if (error.code === 'pipeline.crashed') this.#audience.restart();
      return;
    }
    if (error.code === 'engine.failed' && error.scope === 'process') this.#deps.onEngineFailed(error);
    const publisher = this.#publisher;
    if (publisher !== undefined) void this.unpublish(publisher, 'request', { reason: 'pipeline failed', error });
    else void this.#closePipeline();
  }

  // --- media in ---

  #onAccessUnit(unit: AccessUnit): void {
    this.#deps.metrics.frame('received');
    if (unit.keyframe) this.#audience.onSourceKeyframe();
    this.#pipeline?.push(unit);
    if (this.#state !== 'live') this.#refreshState('first picture');
  }

  #onIngestDrop(reason: DropReason, count: number): void {
    this.#ingestDrops = { ...this.#ingestDrops, [reason]: (this.#ingestDrops[reason] ?? 0) + count };
    this.#deps.metrics.dropped(reason, count);
  }

  /** Counted always, logged once a second: there are fifty packets in one. */
  #onAudioError(error: AppError): void {
    this.#deps.metrics.error(error.code);
    const nowUs = this.#deps.nowUs();
    if (nowUs - this.#audioErrorAtUs < 1_000_000) return;
    this.#audioErrorAtUs = nowUs;
    this.#log.error({ code: error.code, reason: error.message, stack: error.stack }, 'audio.error');
  }

  // --- viewers ---

  async watch(
    session: string,
    sdp: string,
    sink: SessionSink,
  ): Promise<{ sdp: string; state: SessionState; viewer: Viewer }> {
    const output = this.#pipelineView.format;
    const size =
      output === undefined ? { width: 2560, height: 1440 } : { width: output.outputWidth, height: output.outputHeight };
    const viewer = this.subscribe((subscription) => new Viewer(session, this.#deps.rtc, size, sink, subscription));
    try {
      const answer = await viewer.peer.accept(sdp);
      viewer.knowState(this.#state);
      this.#deps.metrics.session('viewer');
      this.#log.info({ viewers: this.#audience.size }, 'viewer.joined');
      return { sdp: answer, state: this.#state, viewer };
    } catch (error) {
      await this.unsubscribe(session);
      throw error;
    }
  }

  /** A viewer, a recorder, a relay: it gets frames as soon as it says that it has started. */
  subscribe<T extends Subscriber>(open: (subscription: Subscription) => T): T {
    const subscriber = this.#audience.subscribe(open);
    this.#deps.onChange();
    return subscriber;
  }

  async unsubscribe(id: string): Promise<void> {
    const subscriber = this.#audience.remove(id);
    if (subscriber !== undefined) await this.#onSubscriberGone(subscriber);
  }

  async #onSubscriberGone(subscriber: Subscriber): Promise<void> {
    this.#log.info({ viewers: this.#audience.size }, 'viewer.left');
    this.#deps.onChange();
    await subscriber.close();
  }

  // --- time ---

  #currentState(nowUs: MonotonicUs): SessionState {
    const publisher = this.#publisher;
    const last = publisher?.lastUnitAtUs;
    if (last === undefined) return 'waiting';
    return nowUs - last > this.#deps.config.broadcast.pauseAfterMs * 1000 ? 'paused' : 'live';
  }

  #refreshState(reason: string): void {
    const state = this.#currentState(this.#deps.nowUs());
    this.#publisher?.pushState(state, reason);
    if (state === this.#state) return;
    this.#state = state;
    this.#audience.pushState(state, reason);
    this.#deps.onChange();
  }

  /** Once a second: states that follow from silence, bit rates, statistics. */
  tick(): void {
    const nowUs = this.#deps.nowUs();
    if (this.#ownership.kind === 'reserved' && nowUs > this.#ownership.untilUs) {
      this.#ownership = { kind: 'free' };
      void this.#closePipeline();
      this.#deps.onChange();
    }
    this.#refreshState('no picture arrives');
    this.#audience.adapt(nowUs);
    const publisherStats = this.#publisher?.peer.getStats();
    this.#noteTimestamps(publisherStats?.timestampsReplaced ?? this.#timestampsReplaced);
    const frames = this.#meter.take(nowUs);
    const upscaled = this.#pipelineView.stats?.framesUpscaled ?? 0;
    const upscaledPerSecond = Math.max(0, upscaled - this.#upscaledBefore);
    this.#upscaledBefore = upscaled;
    this.#stats = summarize({
      model: this.#deps.model,
      pipeline: this.#pipelineView,
      publisher: publisherStats,
      frames,
      upscaledPerSecond,
      codec: this.#audience.mainCodec,
      ingestDrops: this.#ingestDrops,
      viewers: this.#audience.size,
      audioDelayMs: this.#audio.delayMs,
    });
    if (this.#publisher !== undefined) this.#publisher.sink.onStats(this.#stats);
    this.#audience.pushStats(this.#stats);
  }

  /** At most a line a second; the publisher reads the same in its statistics. */
  #noteTimestamps(replaced: number): void {
    if (replaced > this.#timestampsReplaced) this.#log.warn({ replaced }, 'publisher.timestamps');
    this.#timestampsReplaced = replaced;
  }

  async close(reason: string, error: AppError): Promise<void> {
    const publisher = this.#publisher;
    this.#ownership = { kind: 'free' };
    this.#audio.clear();
    await Promise.all([
      publisher?.close({ reason, error }),
      this.#audience.close(reason, error),
      this.#closePipeline(),
    ]);
  }
}
