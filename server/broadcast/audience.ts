import type { AppError } from '../errors.ts';
import { BitrateController, type BitrateLimits, type ViewerReport } from '../media/bitrate-controller.ts';
import { ViewerKeyframeRequests } from '../media/viewer-keyframe-requests.ts';
import type {
  AccessUnit,
  DropReason,
  EncodedFrame,
  MonotonicUs,
  Rendition,
  ResultCodec,
  SourceCodec,
} from '../media/types.ts';
import type { EncoderRequest } from '../pipeline/messages.ts';
import type { ForwardPacket } from '../rtc/peers.ts';
import type { BroadcastSettings } from './settings.ts';
import type { BroadcastStats, SessionState } from './statistics.ts';
import type { Subscriber, Subscription, ViewerDetail } from './subscriber.ts';

/** Requests the audience makes of its broadcast. */
export interface AudienceRequests {
  setEncoders(encoders: readonly EncoderRequest[]): void;
  requestResultKeyframe(codec: ResultCodec, rendition: Rendition): void;
  requestSourceKeyframe(): void;
  /** It sends no picture at present, of which an encoder could make a keyframe. */
  sourceIsStill(): boolean;
  dropped(reason: DropReason, frames: number): void;
  /** Keyframe requests of the last second that wait because their subscriber's budget is spent. */
  deferredKeyframes(count: number): void;
  /** A subscriber ended by itself; it has been removed. */
  onEnded(subscriber: Subscriber): void;
}

type EncoderKey = `${ResultCodec} ${Rendition}`;

/**
 * The subscribers of one broadcast, and what follows from who they are: which encoders run, at which bit rate, and when they
 * make a keyframe. One encode per codec and rendition serves all its viewers.
 */
export class Audience {
  readonly #requests: AudienceRequests;
  readonly #nowUs: () => MonotonicUs;
  readonly #subscribers = new Map<string, Subscriber>();
  readonly #bitrate: BitrateController;
  /** By encoder. A subscriber's budget bounds what its requests cost the others. */
  readonly #keyframes = new Map<EncoderKey, ViewerKeyframeRequests>();
  readonly #sourceKeyframes = new ViewerKeyframeRequests();
  #deferredBefore = 0;
  #lowBitrateBps: number;
  #encoders: readonly EncoderRequest[] = [];

  constructor(settings: BroadcastSettings, nowUs: () => MonotonicUs, requests: AudienceRequests) {
    this.#requests = requests;
    this.#nowUs = nowUs;
    this.#lowBitrateBps = settings.lowBitrateBps;
    this.#bitrate = new BitrateController(bitrateLimits(settings));
  }

  get size(): number {
    return this.#subscribers.size;
  }
  /** Without the publisher's own page. */
  get viewerCount(): number {
    let viewers = 0;
    for (const { kind, own } of this.#subscribers.values()) if (kind === 'viewer' && own !== true) viewers += 1;
    return viewers;
  }
  get bitrateBps(): number {
    let sum = 0;
    for (const { bitrateBps } of this.#subscribers.values()) sum += bitrateBps;
    return sum;
  }
  /** The codec most viewers take; what statistics call the output's codec. */
  get mainCodec(): ResultCodec | undefined {
    return this.#encoders[0]?.codec;
  }

  /** Of all viewers, the publisher's own page included. */
  viewers(): ViewerDetail[] {
    return [...this.#subscribers.values()].flatMap((subscriber) => subscriber.detail?.() ?? []);
  }

  /** New bit rates reach the encoders within a second. */
  configure(settings: BroadcastSettings): void {
    this.#lowBitrateBps = settings.lowBitrateBps;
    this.#bitrate.setLimits(bitrateLimits(settings));
  }

  toJSON(): object {
    return {
      bitrateBps: this.#bitrate.fullBps,
      encoders: this.#encoders,
      subscribers: [...this.#subscribers.values()],
    };
  }

  /** @param open makes the subscriber, which counts from here on and may report `started` at any time */
  subscribe<T extends Subscriber>(open: (subscription: Subscription) => T): T {
    // Filled when `open` has returned: a subscriber has nothing to ask before.
    const made: { subscriber?: T } = {};
    const known = (act: (subscriber: T) => void): void => {
      const { subscriber } = made;
      if (subscriber !== undefined && this.#subscribers.get(subscriber.id) === subscriber) act(subscriber);
    };
    const subscriber = open({
      started: () => known((started) => this.#onStarted(started)),
      interrupted: () => known(({ id }) => this.#onInterrupted(id)),
      requestKeyframe: (track) => known((asking) => this.#onKeyframeRequest(asking, track)),
      dropped: (reason, frames) => this.#requests.dropped(reason, frames),
      ended: () =>
        known((ended) => {
          this.remove(ended.id);
          this.#requests.onEnded(ended);
        }),
    });
    made.subscriber = subscriber;
    this.#subscribers.set(subscriber.id, subscriber);
    return subscriber;
  }

  /** @returns the subscriber, which is the caller's to close */
  remove(id: string): Subscriber | undefined {
    const subscriber = this.#subscribers.get(id);
    if (subscriber === undefined) return undefined;
    this.#subscribers.delete(id);
    this.#bitrate.forget(id);
    for (const requests of this.#keyframes.values()) requests.forget(id);
    this.#sourceKeyframes.forget(id);
    this.#plan();
    return subscriber;
  }

  /** The one keyframe request of a join, or of a return after an interruption. */
  #onStarted(subscriber: Subscriber): void {
    this.#plan();
    this.#requestKeyframe(subscriber);
    if (subscriber.wantsSource) this.#requestSourceKeyframe(subscriber);
  }

  #onInterrupted(id: string): void {
    this.#bitrate.forget(id);
    this.#plan();
  }

  #onKeyframeRequest(subscriber: Subscriber, track: 'result' | 'source'): void {
    if (track === 'source') this.#requestSourceKeyframe(subscriber);
    else this.#requestKeyframe(subscriber);
  }

  sendResult(frame: EncodedFrame): void {
    const { codec, rendition, keyframe } = frame;
    if (keyframe) this.#keyframes.get(`${codec} ${rendition}`)?.satisfied();
    let switched = false;
    for (const subscriber of this.#subscribers.values()) {
      const before = subscriber.renditions.length;
      subscriber.onResult(frame);
      switched ||= subscriber.renditions.length !== before;
    }
    // The last viewer has left a rendition with this keyframe: its encoder is not needed any more.
    if (switched) this.#plan();
    this.#pollKeyframes(this.#nowUs());
  }

  /** The source has sent a keyframe: its viewers' requests are answered. */
  onSourceKeyframe(): void {
    this.#sourceKeyframes.satisfied();
  }

  sendSource(packet: ForwardPacket, codec: SourceCodec): void {
    for (const subscriber of this.#subscribers.values()) subscriber.onSource(packet, codec);
  }

  sendSourceUnit(unit: AccessUnit): void {
    for (const subscriber of this.#subscribers.values()) subscriber.onSourceUnit?.(unit);
  }

  sendAudio(packet: ForwardPacket): void {
    for (const subscriber of this.#subscribers.values()) subscriber.onAudio(packet);
  }

  /** Once a second: the shared bit rate and who belongs on the low rendition. */
  adapt(nowUs: MonotonicUs): void {
    const reports = new Map<string, ViewerReport>();
    for (const subscriber of this.#subscribers.values()) {
      const report = subscriber.report();
      if (report !== undefined) reports.set(subscriber.id, report);
    }
    const { low } = this.#bitrate.update(reports, nowUs);
    const switching: Subscriber[] = [];
    for (const subscriber of this.#subscribers.values()) {
      if (subscriber.want(low.has(subscriber.id) ? 'low' : 'full')) switching.push(subscriber);
    }
    this.#plan();
    for (const subscriber of switching) this.#requestKeyframe(subscriber);
    this.#pollKeyframes(nowUs);
    this.#reportDeferred();
  }

  #pollKeyframes(nowUs: MonotonicUs): void {
    for (const [key, requests] of this.#keyframes) {
      if (requests.poll(nowUs)) this.#sendKeyframeRequest(key);
    }
    if (this.#sourceKeyframes.poll(nowUs)) this.#requests.requestSourceKeyframe();
  }

  /** A new pipeline begins: it gets the list of encoders, and every subscriber waits for its first keyframe. */
  reapply(): void {
    this.restart();
    this.#encoders = [];
    this.#plan();
  }

  restart(): void {
    for (const subscriber of this.#subscribers.values()) subscriber.restart();
  }

  pushState(state: SessionState, reason: string): void {
    for (const subscriber of this.#subscribers.values()) subscriber.onState(state, reason);
  }

  pushStats(stats: BroadcastStats): void {
    for (const subscriber of this.#subscribers.values()) subscriber.onStats(stats);
  }

  async close(reason: string, error: AppError): Promise<void> {
    const subscribers = [...this.#subscribers.values()];
    this.#subscribers.clear();
    for (const subscriber of subscribers) subscriber.onState('ended', reason, error);
    await Promise.all(subscribers.map((subscriber) => subscriber.close()));
  }

  #requestKeyframe(subscriber: Subscriber): void {
    const { id, codec, renditions } = subscriber;
    const [wanted] = renditions;
    if (wanted === undefined) return;
    if (this.#requests.sourceIsStill()) this.#requestSourceKeyframe(subscriber);
    const key: EncoderKey = `${codec} ${wanted}`;
    let requests = this.#keyframes.get(key);
    if (requests === undefined) {
      requests = new ViewerKeyframeRequests();
      this.#keyframes.set(key, requests);
    }
    if (requests.request(id, this.#nowUs())) this.#sendKeyframeRequest(key);
  }

  #requestSourceKeyframe({ id }: Subscriber): void {
    if (this.#sourceKeyframes.request(id, this.#nowUs())) this.#requests.requestSourceKeyframe();
  }

  #reportDeferred(): void {
    let deferred = this.#sourceKeyframes.deferred;
    for (const requests of this.#keyframes.values()) deferred += requests.deferred;
    this.#requests.deferredKeyframes(deferred - this.#deferredBefore);
    this.#deferredBefore = deferred;
  }

  #sendKeyframeRequest(key: EncoderKey): void {
    const [codec, rendition] = key.split(' ') as [ResultCodec, Rendition];
    this.#requests.requestResultKeyframe(codec, rendition);
  }

  #plan(): void {
    const count = new Map<EncoderKey, number>();
    for (const subscriber of this.#subscribers.values()) {
      for (const rendition of subscriber.renditions) {
        const key: EncoderKey = `${subscriber.codec} ${rendition}`;
        count.set(key, (count.get(key) ?? 0) + 1);
      }
    }
    const encoders = [...count.entries()]
      .sort(([keyA, a], [keyB, b]) => b - a || keyA.localeCompare(keyB))
      .map(([key]): EncoderRequest => {
        const [codec, rendition] = key.split(' ') as [ResultCodec, Rendition];
        return {
          codec,
          rendition,
          bitrateBps: rendition === 'full' ? this.#bitrate.fullBps : this.#lowBitrateBps,
        };
      });
    if (sameEncoders(encoders, this.#encoders)) return;
    this.#encoders = encoders;
    this.#requests.setEncoders(encoders);
  }
}

function bitrateLimits({ minBitrateBps, startBitrateBps, maxBitrateBps }: BroadcastSettings): BitrateLimits {
  return { minBps: minBitrateBps, startBps: startBitrateBps, maxBps: maxBitrateBps };
}

/** Bit rates closer than this count as equal: encoders are not changed every second. */
const BITRATE_TOLERANCE = 0.03;

function sameEncoders(a: readonly EncoderRequest[], b: readonly EncoderRequest[]): boolean {
  return (
    a.length === b.length &&
    a.every((encoder, index) => {
      const other = b[index];
      return (
        other !== undefined &&
        other.codec === encoder.codec &&
        other.rendition === encoder.rendition &&
        Math.abs(other.bitrateBps - encoder.bitrateBps) <= BITRATE_TOLERANCE * other.bitrateBps
      );
    })
  );
}
