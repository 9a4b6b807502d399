import { performance } from 'node:perf_hooks';
import { Decoder } from '../codec/decoder.ts';
import { FrameRateMeter } from '../codec/frame-rate.ts';
import { createUpscaler } from '../upscalers/create-upscaler.ts';
import type { Upscaler } from '../upscalers/upscaler.ts';
import { AppError } from '../errors.ts';
import { monotonicUs } from '../media/clock.ts';
import { DrawnContentWatch } from '../media/drawn-content.ts';
import type { AccessUnit, EncodedFrame, MonotonicUs } from '../media/types.ts';
import { PipelineCounters } from './counters.ts';
import { EncoderBank } from './encoder-bank.ts';
import { EngineShare } from './engine-share.ts';
import { FirstLook } from './first-look.ts';
import { Ladder, type LadderOthers, type LadderStep } from './ladder.ts';
import type { FromPipeline, PipelineFormat, PipelineOptions, PipelineSettings, ToPipeline } from './messages.ts';
import { PaceStage } from './pace-stage.ts';
import { ReorderDelay } from './reorder-delay.ts';
import { workUntil } from './turn.ts';
import { UpscaleStage } from './upscale-stage.ts';
import type { Picture } from '../media/picture.ts';

export type Post = (message: FromPipeline, transfer: ArrayBuffer[]) => void;

/** Shortest interval between two of these messages: a broken publisher must not flood the RTP thread. */
const KEYFRAME_WISH_INTERVAL_US = 200_000;
const ERROR_INTERVAL_US = 1_000_000;
/**
 * The longest that one turn decodes. A publisher can send more than this thread decodes: what has gathered beyond this is left
 * out up to the next keyframe, so that the backlog holds seconds of the source, however long it sends.
 */
const TURN_US = 2_000_000;
/** The ladder stays on rung 0 for this long after the first result. */
const LADDER_FROM_US = 3_000_000;

/**
 * One broadcast's way from access unit to encoded frame: decode -> queue -> upscale -> pace -> encode. Lives in a worker
 * thread (worker.ts) but knows nothing of threads: messages go in by `handle`, results come out by `post`.
 */
export class PipelineCore {
  readonly #options: PipelineOptions;
  readonly #post: Post;
  readonly #nowUs: () => MonotonicUs;
  readonly #counters = new PipelineCounters();
  readonly #frameRate = new FrameRateMeter();
  readonly #encoders: EncoderBank;
  #upscaler: Upscaler | undefined;
  #stage: UpscaleStage | undefined;
  #pace: PaceStage | undefined;
  #format: PipelineFormat | undefined;
  #ladder = new Ladder(1);
  #ladderOn: boolean;
  /** The first rung that the source's size allows. */
  #firstRung = 0;
  readonly #look = new FirstLook();
  readonly #content = new DrawnContentWatch();
  /** The source shows what the model would harm: the last rung, a plain resize, works whatever the ladder says. */
  #spared = false;
  #share: EngineShare | undefined;
  #decoder: Decoder | undefined;
  readonly #reorder = new ReorderDelay();
  #statsTimer: NodeJS.Timeout | undefined;
  #lastKeyframeWishUs: MonotonicUs = 0;
  readonly #lastErrorUs = new Map<string, MonotonicUs>();
  #utilization = performance.eventLoopUtilization();
  #lastSampleUs: MonotonicUs = monotonicUs();
  #firstUpscaledAtUs: MonotonicUs | undefined;
  #closed = false;

  /** @param nowUs for tests: how long a turn has taken */
  constructor(options: PipelineOptions, post: Post, nowUs = monotonicUs) {
    this.#options = options;
    this.#nowUs = nowUs;
    this.#ladderOn = options.ladder;
    this.#post = post;
    this.#encoders = new EncoderBank({
      keyframeIntervalSeconds: options.keyframeIntervalSeconds,
      keyframeMaxRatio: options.keyframeMaxRatio,
      framesPerSecond: () => this.#frameRate.framesPerSecond(),
      onFrame: (frame, encodeUs) => this.#onEncoded(frame, encodeUs),
      onError: (error) => this.#report(error),
    });
  }

  /** Loads the model. Access units that arrive before it is there are dropped. @throws AppError as createUpscaler */
  async start(): Promise<void> {
    const upscaler = await createUpscaler(this.#options.upscaler);
    if (this.#closed) {
      await upscaler.close();
      return;
    }
    this.#upscaler = upscaler;
    this.#ladder = new Ladder(this.#ladderOn ? upscaler.info.rungs.length : 1);
    const { engineSlot } = this.#options;
    if (upscaler.info.shared === true && engineSlot !== undefined) this.#share = new EngineShare(engineSlot);
    this.#stage = new UpscaleStage(upscaler, {
      maxQueueMs: this.#options.maxQueueMs,
      maxResultPixels: this.#options.maxResultPixels,
      growAfterMs: this.#options.growAfterMs,
      onFirstRung: (rung) => this.#onFirstRung(rung),
      framesPerSecond: () => this.#frameRate.framesPerSecond(),
      share: this.#share,
      onPicture: (picture, upscaleUs) => this.#onUpscaled(picture, upscaleUs),
      onDrop: (reason) => this.#counters.drop(reason),
      onFormat: (format) => {
        this.#format = format;
        this.#look.restart();
        this.#announceFormat();
      },
      onError: (error) => this.#report(error),
    });
    this.#pace = new PaceStage({
      info: upscaler.info,
      framesPerSecond: () => this.#frameRate.framesPerSecond(),
      onPicture: (picture) => this.#onPaced(picture),
      onDrop: (reason) => this.#counters.drop(reason),
      onDelay: () => this.#announceFormat(),
    });
    this.#post({ type: 'ready', info: upscaler.info }, []);
    this.#lastSampleUs = monotonicUs();
    this.#utilization = performance.eventLoopUtilization();
    this.#statsTimer = setInterval(() => this.#onSecond(), 1000);
  }

  handle(message: Exclude<ToPipeline, { type: 'close' }>): void {
    if (this.#closed) return;
    switch (message.type) {
      case 'accessUnit':
        this.#onAccessUnit(message.unit);
        break;
      case 'encoders':
        this.#encoders.set(message.encoders);
        break;
      case 'settings':
        this.#configure(message.settings);
        break;
      case 'keyframe':
        this.#encoders.requestKeyframe(message.codec, message.rendition);
        break;
      case 'reset':
        this.#reset();
        break;
    }
  }

  /** Handles a backlog: decodes every queued unit first, so that the upscaler only sees the newest picture. */
  handleAll(messages: readonly Exclude<ToPipeline, { type: 'close' }>[]): void {
    this.#stage?.hold();
    const leftOut = workUntil(messages, {
      untilUs: this.#nowUs() + TURN_US,
      nowUs: this.#nowUs,
      mayLeaveOut: ({ type }) => type === 'accessUnit',
      work: (message) => this.handle(message),
    });
    if (leftOut > 0) this.#onBehind(leftOut);
    this.#stage?.resume();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    clearInterval(this.#statsTimer);
    this.#decoder?.close();
    await this.#stage?.close();
    this.#pace?.close();
    this.#encoders.close();
    await this.#upscaler?.close();
  }

  /** The next keyframe may be decoded again; pictures in between refer to what was left out. */
  #onBehind(units: number): void {
    for (let unit = 0; unit < units; unit += 1) this.#counters.drop('stale');
    this.#decoder?.reset();
    this.#takeLost(this.#decoder);
    this.#wishKeyframe('the source is more than this machine decodes');
  }

  #onAccessUnit(unit: AccessUnit): void {
    const decoder = this.#decoderFor(unit);
    if (decoder.awaitingKeyframe && !unit.keyframe) {
      this.#counters.drop('awaiting-keyframe');
      this.#wishKeyframe(`waiting for a ${unit.codec} keyframe`);
      return;
    }
    const startedAtUs = monotonicUs();
    let pictures: Picture[];
    try {
      pictures = decoder.decode(unit);
    } catch (error) {
      this.#counters.drop('decode-error');
      this.#takeLost(decoder);
      const failure = decodeError(error);
      this.#report(failure);
      this.#wishKeyframe(failure.message);
      return;
    }
    this.#counters.time('decode', startedAtUs, monotonicUs());
    this.#takeLost(decoder);
    if (this.#reorder.follow(decoder.reordering, () => this.#frameRate.framesPerSecond())) this.#announceFormat();
    for (const picture of pictures) this.#onDecoded(picture);
  }

  #takeLost(decoder: Decoder | undefined): void {
    for (let lost = decoder?.takeLost() ?? 0; lost > 0; lost -= 1) this.#counters.drop('out-of-order');
  }

  #onDecoded(picture: Picture): void {
    this.#counters.framesDecoded += 1;
    this.#frameRate.add(picture.mediaTime);
    // Frame-by-frame kinds answer at once for the first viewer. A chunked one takes seconds to start: it keeps working.
    if (this.#stage === undefined || (!this.#encoders.wanted && this.#upscaler?.info.chunkFrames === 1)) {
      this.#stage?.idle(picture);
      picture.release?.();
      this.#counters.drop('no-viewer');
      return;
    }
    this.#watchContent(picture);
    this.#stage.push(picture);
  }

  /** Before the picture is pushed: it is the first one that the model does not touch. */
  #watchContent(picture: Picture): void {
    if (!this.#options.spareDrawnContent || this.#upscaler?.info.harmsDrawnContent !== true) return;
    const spared = this.#content.see(picture);
    if (spared === this.#spared) return;
    this.#spared = spared;
    const reason = spared ? 'drawn content: the model would make thin strokes thinner' : 'no drawn content any more';
    this.#apply({ rung: this.#rung, cause: spared ? 'content' : this.#ladder.cause, reason });
  }

  #onUpscaled(picture: Picture, upscaleUs: number): void {
    this.#counters.framesUpscaled += 1;
    this.#firstUpscaledAtUs ??= monotonicUs();
    this.#counters.time('upscale', 0, upscaleUs);
    if (this.#upscaler?.info.chunkFrames === 1 && !this.#spared) this.#lookAt(upscaleUs);
    if (this.#pace === undefined) picture.release?.();
    else this.#pace.push(picture);
  }

  #onPaced(picture: Picture): void {
    if (this.#encoders.wanted && this.#stage !== undefined) this.#encoders.encode(picture, this.#stage.lowSize);
    else this.#counters.drop('no-viewer');
    picture.release?.();
  }

  #onEncoded(frame: EncodedFrame, encodeUs: number): void {
    this.#counters.framesEncoded += 1;
    if (frame.keyframe) this.#counters.keyframesEncoded += 1;
    this.#counters.time('encode', 0, encodeUs);
    this.#post({ type: 'frame', frame }, [frame.data.buffer as ArrayBuffer]);
  }

  #configure({ keyframeIntervalSeconds, ladder }: PipelineSettings): void {
    this.#encoders.setKeyframeInterval(keyframeIntervalSeconds);
    if (ladder === this.#ladderOn) return;
    this.#ladderOn = ladder;
    const before = this.#ladder.rung;
    this.#ladder = new Ladder(ladder ? (this.#upscaler?.info.rungs.length ?? 1) : 1);
    if (ladder) this.#onFirstRung(this.#firstRung);
    else if (before > 0) this.#toRung({ rung: 0, cause: 'load', reason: 'the ladder was switched off' }, monotonicUs());
  }

  #reset(): void {
    this.#deliverHeld();
    this.#decoder?.close();
    this.#decoder = undefined;
    this.#content.restart();
    this.#stage?.drain();
  }

  /** The last pictures of a source with B-frames. */
  #deliverHeld(): void {
    const decoder = this.#decoder;
    if (decoder === undefined || decoder.reordering.frames === 0) return;
    try {
      for (const picture of decoder.flush()) this.#onDecoded(picture);
    } catch (error) {
      this.#report(decodeError(error));
    }
    this.#takeLost(decoder);
  }

  #decoderFor(unit: AccessUnit): Decoder {
    if (this.#decoder?.codec !== unit.codec) {
      this.#decoder?.close();
      this.#decoder = new Decoder({ codec: unit.codec, maxPixels: this.#options.maxSourcePixels });
    }
    return this.#decoder;
  }

  get #presentationDelayMs(): number {
    return this.#pace === undefined ? 0 : this.#pace.presentationDelayMs + this.#reorder.behindMs;
  }

  #onSecond(): void {
    const now = monotonicUs();
    const elapsedUs = Math.max(1, now - this.#lastSampleUs);
    this.#lastSampleUs = now;
    const before = this.#utilization;
    this.#utilization = performance.eventLoopUtilization();
    const thread = performance.eventLoopUtilization(this.#utilization, before).utilization;
    const stage = this.#stage;
    const ownLoad = (stage?.takeBusyUs() ?? 0) / elapsedUs;
    // The thread counts too: decoding and encoding beside a cheap upscaler can be what does not keep up.
    const load = Math.min(1, Math.max(thread, this.#engineLoad(ownLoad, now)));
    this.#sampleLadder(load, now);
    const stats = this.#counters.snapshot({
      queueDepth: stage?.queueDepth ?? 0,
      load,
      ladderRung: this.#rung,
      presentationDelayMs: this.#presentationDelayMs,
      reorderDelayMs: this.#reorder.delayMs,
      framesLate: this.#pace?.lateFrames ?? 0,
    });
    this.#post({ type: 'stats', stats }, []);
  }

  /** Of a shared engine: the load of all streams together. Rungs that run elsewhere do not load it. */
  #engineLoad(ownLoad: number, now: MonotonicUs): number {
    const share = this.#share;
    if (share === undefined) return ownLoad;
    const rung = this.#rung;
    const onEngine = rung < (this.#upscaler?.info.chunkedRungs ?? Number.POSITIVE_INFINITY);
    share.report(onEngine ? ownLoad : 0, rung, now);
    const others = share.othersLoad(now);
    return onEngine ? ownLoad + others : Math.max(ownLoad, others);
  }

  #sampleLadder(load: number, now: MonotonicUs): void {
    const sample = { load, drops: this.#counters.takeQueueDrops() };
    // The first seconds pay for allocation and JIT; they say nothing about later ones.
    if (now - (this.#firstUpscaledAtUs ?? now) < LADDER_FROM_US) return;
    // A plain resize says nothing about what the model would cost.
    if (this.#spared) return;
    const share = this.#share;
    const step = this.#ladder.sample(share === undefined ? sample : { ...sample, others: othersOf(share, now) });
    if (step !== undefined) this.#toRung(step, now);
  }

  /** If a rung is far too slow, waiting for the once-a-second ladder would drop frames for seconds. */
  #lookAt(upscaleUs: number): void {
    const costUs = this.#look.add(upscaleUs);
    if (costUs === undefined) return;
    const step = this.#ladder.look((costUs * this.#frameRate.framesPerSecond()) / 1e6);
    if (step !== undefined) this.#toRung(step, monotonicUs());
  }

  /** A source of this size begins further down the ladder, or may use all of it again. */
  #onFirstRung(rung: number): void {
    this.#firstRung = rung;
    const { rungs = [] } = this.#upscaler?.info ?? {};
    const skipped = rungs.slice(0, rung).join(', ');
    const bound = `results have at most ${this.#options.maxResultPixels} pixels (limits.maxResultPixels)`;
    const step = this.#ladder.setFirst(rung, rung === 0 ? 'another source size' : `too large for ${skipped}: ${bound}`);
    if (step !== undefined) this.#toRung(step, monotonicUs());
  }

  #toRung(step: LadderStep, now: MonotonicUs): void {
    this.#share?.stepped(step.rung, now);
    // Taken when the content allows it again.
    if (!this.#spared) this.#apply(step);
  }

  /** The rung at work. */
  get #rung(): number {
    return this.#spared ? (this.#upscaler?.info.rungs.length ?? 1) - 1 : this.#ladder.rung;
  }

  #apply(step: LadderStep): void {
    const { rung } = step;
    this.#stage?.setRung({ rung, reduced: rung > this.#firstRung });
    this.#look.restart();
    this.#pace?.setRung(rung);
    const label = this.#upscaler?.info.rungs[rung] ?? '';
    this.#post({ type: 'ladder', step, label }, []);
  }

  #announceFormat(): void {
    if (this.#format === undefined || this.#pace === undefined) return;
    const format = {
      ...this.#format,
      presentationDelayMs: this.#presentationDelayMs,
      reorderDelayMs: this.#reorder.delayMs,
    };
    this.#post({ type: 'format', format }, []);
  }

  #wishKeyframe(reason: string): void {
    const now = monotonicUs();
    if (now - this.#lastKeyframeWishUs < KEYFRAME_WISH_INTERVAL_US) return;
    this.#lastKeyframeWishUs = now;
    this.#post({ type: 'needKeyframe', reason }, []);
  }

  #report(error: AppError): void {
    const now = monotonicUs();
    const last = this.#lastErrorUs.get(error.code);
    if (last !== undefined && now - last < ERROR_INTERVAL_US && error.scope === 'frame') return;
    this.#lastErrorUs.set(error.code, now);
    this.#post({ type: 'error', error: error.toJSON() }, []);
  }
}

function othersOf(share: EngineShare, now: MonotonicUs): LadderOthers {
  const rungs = share.othersRungs(now);
  return { rungs, secondsSinceStep: (now - share.othersSteppedAtUs(now)) / 1e6 };
}

/** A defect that a publisher's bytes trigger in the decoder ends that publisher's stream only. */
function decodeError(thrown: unknown): AppError {
  const error = AppError.from(thrown, 'media.decode');
  if (error.code === 'media.decode' || error.code === 'media.unsupported') return error;
  return new AppError('media.decode', error.message, { cause: thrown });
}
