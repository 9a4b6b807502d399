import type { AppError } from '../errors.ts';
import type { RtpClock } from '../media/rtp-clock.ts';
import type { AccessUnit, DropReason, MonotonicUs, SourceCodec } from '../media/types.ts';
import type { ForwardPacket, PeerState, PublisherListener, PublisherPeer, RtcStack } from '../rtc/peers.ts';
import type { SessionSink } from './sessions.ts';
import type { SessionState } from './statistics.ts';

/** What the broadcast does with the things its publisher sends; called only while this publisher is the current one. */
export interface PublisherOwner {
  onPublisherState(publisher: Publisher, state: PeerState, cause?: AppError): void;
  onAccessUnit(unit: AccessUnit): void;
  onVideoPacket(packet: ForwardPacket, codec: SourceCodec): void;
  onAudioPacket(packet: ForwardPacket): void;
  onDrop(reason: DropReason, count: number): void;
}

/** One publisher connection of a broadcast. A takeover makes a new one; the old one's late packets then reach nobody. */
export class Publisher {
  readonly session: string;
  readonly peer: PublisherPeer;
  readonly #sink: SessionSink;
  #owner: PublisherOwner | undefined;
  #state: SessionState | undefined;
  #lastUnitAtUs: MonotonicUs | undefined;

  constructor(session: string, rtc: RtcStack, sink: SessionSink, clock: RtpClock) {
    this.session = session;
    this.#sink = sink;
    const listener: PublisherListener = {
      onState: (state, cause) => this.#owner?.onPublisherState(this, state, cause),
      onAccessUnit: (unit) => {
        this.#lastUnitAtUs = unit.assembledAtUs;
        this.#owner?.onAccessUnit(unit);
      },
      onVideoPacket: (packet, codec) => this.#owner?.onVideoPacket(packet, codec),
      onAudioPacket: (packet) => this.#owner?.onAudioPacket(packet),
      onDrop: (reason, count) => this.#owner?.onDrop(reason, count),
      onCandidate: (candidate) => sink.onCandidate(candidate),
    };
    this.peer = rtc.createPublisher(listener, clock);
  }

  /** When its last complete frame arrived; undefined before the first. */
  get lastUnitAtUs(): MonotonicUs | undefined {
    return this.#lastUnitAtUs;
  }

  get sink(): SessionSink {
    return this.#sink;
  }

  attach(owner: PublisherOwner): void {
    this.#owner = owner;
  }

  pushState(state: SessionState, reason: string, error?: AppError): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#sink.onState(state, reason, error);
  }

  /** Ends the session; `ended` is told only when it was not the client's own wish. */
  async close(told?: { readonly reason: string; readonly error: AppError }): Promise<void> {
    this.#owner = undefined;
    if (told !== undefined) this.pushState('ended', told.reason, told.error);
    await this.peer.close();
  }
}
