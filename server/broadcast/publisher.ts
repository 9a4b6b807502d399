import { AppError } from '../errors.ts';
import type { RtpClock } from '../media/rtp-clock.ts';
import type { PeerState, PublisherPeer, RtcStack } from '../rtc/peers.ts';
import type { SessionSink } from './sessions.ts';
import type { Source, SourceSink, SourceStats } from './source.ts';
import type { BroadcastStats, SessionState } from './statistics.ts';

/** The source behind a WebRTC peer. What arrives before start() is dropped: the answer is still being made. */
export class Publisher implements Source {
  readonly id: string;
  readonly peer: PublisherPeer;
  readonly #session: SessionSink;
  readonly #onClosed: () => void;
  #sink: SourceSink | undefined;
  #state: SessionState | undefined;
  #closed = false;

  /** @param onClosed once, when the session is over whatever ended it */
  constructor(id: string, rtc: RtcStack, clock: RtpClock, session: SessionSink, onClosed: () => void) {
    this.id = id;
    this.#session = session;
    this.#onClosed = onClosed;
    this.peer = rtc.createPublisher(
      {
        onState: (state, cause) => this.#onPeerState(state, cause),
        onAccessUnit: (unit) => this.#sink?.onAccessUnit(unit),
        onVideoPacket: (packet, codec) => this.#sink?.onVideoPacket(packet, codec),
        onAudioPacket: (packet) => this.#sink?.onAudioPacket(packet),
        onDrop: (reason, count) => this.#sink?.onDrop(reason, count),
        onCandidate: (candidate) => session.onCandidate(candidate),
      },
      clock,
    );
  }

  start(sink: SourceSink): void {
    this.#sink = sink;
    // The peer may have connected while the answer was on its way.
    this.#onPeerState(this.peer.state);
  }

  requestKeyframe(): void {
    this.peer.requestKeyframe();
  }

  getStats(): SourceStats {
    return this.peer.getStats();
  }

  onState(state: SessionState, reason: string, error?: AppError): void {
    this.#state = state;
    this.#session.onState(state, reason, error);
  }

  onStats(stats: BroadcastStats): void {
    this.#session.onStats(stats);
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#sink = undefined;
    this.#onClosed();
    await this.peer.close();
  }

  toJSON(): object {
    return { kind: 'publisher', peer: this.peer.state, state: this.#state ?? 'starting', stats: this.getStats() };
  }

  #onPeerState(state: PeerState, cause?: AppError): void {
    if (state === 'connected') this.#sink?.onConnected();
    if (state !== 'closed') return;
    const error = cause ?? new AppError('peer.connection', 'The connection to the publisher was lost.');
    this.#sink?.onEnded('connection lost', error);
  }
}
