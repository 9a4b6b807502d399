import type { Config } from '../config/config.ts';
import type { AppError } from '../errors.ts';
import { BitrateController, type ViewerReport } from '../media/bitrate-controller.ts';
import { KeyframeRequests } from '../media/keyframe-requests.ts';
import type { MonotonicUs, ResultCodec, Rendition, SourceCodec } from '../media/types.ts';
import type { EncoderRequest } from '../pipeline/messages.ts';
import type { ForwardPacket, PacketizedFrame } from '../rtc/peers.ts';
import type { Viewer } from './viewer.ts';
import type { BroadcastStats, SessionState } from './statistics.ts';

/** What the audience asks of the broadcast. */
export interface AudienceRequests {
  setEncoders(encoders: readonly EncoderRequest[]): void;
  requestResultKeyframe(codec: ResultCodec, rendition: Rendition): void;
  requestSourceKeyframe(reason: string): void;
}

type EncoderKey = `${ResultCodec} ${Rendition}`;

/**
 * The viewers of one broadcast, and what follows from who they are: which encoders run, at which bit rate, and when they
 * make a keyframe. One encode per codec and rendition serves everybody on it.
 */
export class Audience {
  readonly #media: Config['media'];
  readonly #requests: AudienceRequests;
  readonly #viewers = new Map<string, Viewer>();
  readonly #bitrate: BitrateController;
  readonly #keyframes = new Map<EncoderKey, KeyframeRequests>();
  #encoders: readonly EncoderRequest[] = [];

  constructor(media: Config['media'], requests: AudienceRequests) {
    this.#media = media;
    this.#requests = requests;
    this.#bitrate = new BitrateController({
      minBps: media.minBitrateBps,
      startBps: media.startBitrateBps,
      maxBps: media.maxBitrateBps,
    });
  }

  get size(): number {
    return this.#viewers.size;
  }
  /** The codec most viewers take; what statistics call the output's codec. */
  get mainCodec(): ResultCodec | undefined {
    return this.#encoders[0]?.codec;
  }

  get(session: string): Viewer | undefined {
    return this.#viewers.get(session);
  }

  add(viewer: Viewer): void {
    this.#viewers.set(viewer.session, viewer);
  }

  remove(session: string): Viewer | undefined {
    const viewer = this.#viewers.get(session);
    if (viewer === undefined) return undefined;
    this.#viewers.delete(session);
    this.#bitrate.forget(session);
    viewer.setConnected(false);
    this.#plan();
    return viewer;
  }

  /** The viewer's transport is up: it gets a picture with the next frame, which therefore is a keyframe. */
  connected(viewer: Viewer, nowUs: MonotonicUs): void {
    // Also after an ICE restart; the peer reports `connected` again and its decoder may have starved.
    viewer.setConnected(true);
    this.#plan();
    this.#requestKeyframe(viewer.codec, viewer.rendition, nowUs);
    if (viewer.wantsSource) this.#requests.requestSourceKeyframe('viewer joined');
  }

  onKeyframeRequest(session: string, track: 'result' | 'source', nowUs: MonotonicUs): void {
    const viewer = this.#viewers.get(session);
    if (viewer === undefined) return;
    if (track === 'source') this.#requests.requestSourceKeyframe('viewer asked');
    else this.#requestKeyframe(viewer.codec, viewer.rendition, nowUs);
  }

  sendResult(packetized: PacketizedFrame, nowUs: MonotonicUs): void {
    const { codec, rendition, keyframe } = packetized.frame;
    if (keyframe) this.#keyframes.get(`${codec} ${rendition}`)?.satisfied();
    let switched = false;
    for (const viewer of this.#viewers.values()) {
      const before = viewer.neededRenditions.length;
      viewer.sendResult(packetized);
      switched ||= viewer.neededRenditions.length !== before;
    }
    // The last viewer has left a rendition with this keyframe: its encoder is not needed any more.
    if (switched) this.#plan();
    this.#pollKeyframes(nowUs);
  }

  sendSource(packet: ForwardPacket, codec: SourceCodec): void {
    for (const viewer of this.#viewers.values()) viewer.sendSource(packet, codec);
  }

  sendAudio(packet: ForwardPacket): void {
    for (const viewer of this.#viewers.values()) viewer.sendAudio(packet);
  }

  /** Once a second: the shared bit rate and who belongs on the low rendition. */
  adapt(nowUs: MonotonicUs): void {
    const reports = new Map<string, ViewerReport>();
    for (const viewer of this.#viewers.values()) {
      if (viewer.connected) reports.set(viewer.session, viewer.peer.getStats());
    }
    const { low } = this.#bitrate.update(reports, nowUs);
    const switching: Viewer[] = [];
    for (const viewer of this.#viewers.values()) {
      if (viewer.setRendition(low.has(viewer.session) ? 'low' : 'full')) switching.push(viewer);
    }
    this.#plan();
    for (const viewer of switching) this.#requestKeyframe(viewer.codec, viewer.rendition, nowUs);
    this.#pollKeyframes(nowUs);
  }

  #pollKeyframes(nowUs: MonotonicUs): void {
    for (const [key, requests] of this.#keyframes) {
      if (requests.poll(nowUs)) this.#sendKeyframeRequest(key);
    }
  }

  /** A new pipeline begins: it is told what is wanted, and every viewer waits for its first keyframe. */
  reapply(): void {
    this.restart();
    this.#encoders = [];
    this.#plan();
  }

  restart(): void {
    for (const viewer of this.#viewers.values()) viewer.restart();
  }

  pushState(state: SessionState, reason: string): void {
    for (const viewer of this.#viewers.values()) viewer.pushState(state, reason);
  }

  pushStats(stats: BroadcastStats): void {
    for (const viewer of this.#viewers.values()) viewer.pushStats(stats);
  }

  async close(reason: string, error: AppError): Promise<void> {
    const viewers = [...this.#viewers.values()];
    this.#viewers.clear();
    for (const viewer of viewers) viewer.pushState('ended', reason, error);
    await Promise.all(viewers.map((viewer) => viewer.peer.close()));
  }

  #requestKeyframe(codec: ResultCodec, rendition: Rendition, nowUs: MonotonicUs): void {
    const key: EncoderKey = `${codec} ${rendition}`;
    let requests = this.#keyframes.get(key);
    if (requests === undefined) {
      requests = new KeyframeRequests();
      this.#keyframes.set(key, requests);
    }
    if (requests.request(nowUs)) this.#sendKeyframeRequest(key);
  }

  #sendKeyframeRequest(key: EncoderKey): void {
    const [codec, rendition] = key.split(' ') as [ResultCodec, Rendition];
    this.#requests.requestResultKeyframe(codec, rendition);
  }

  #plan(): void {
    const count = new Map<EncoderKey, number>();
    for (const viewer of this.#viewers.values()) {
      if (!viewer.connected) continue;
      for (const rendition of viewer.neededRenditions) {
        const key: EncoderKey = `${viewer.codec} ${rendition}`;
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
          bitrateBps: rendition === 'full' ? this.#bitrate.fullBps : this.#media.lowBitrateBps,
        };
      });
    if (sameEncoders(encoders, this.#encoders)) return;
    this.#encoders = encoders;
    this.#requests.setEncoders(encoders);
  }
}

/** Bit rates closer than this are the same: encoders need not be bothered every second. */
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
