import { AppError } from '../errors.ts';
import { packetize } from '../media/packetizer.ts';
import type { ViewerReport } from '../media/bitrate-controller.ts';
import { startsKeyframe } from '../media/picture-start.ts';
import type { EncodedFrame, Rendition, ResultCodec, SourceCodec } from '../media/types.ts';
import type { ForwardPacket, PeerState, RtcStack, ViewerPeer, WatchedTracks } from '../rtc/peers.ts';
import { KeyframeGate } from './keyframe-gate.ts';
import type { SessionSink, ShownPictures } from './sessions.ts';
import type { BroadcastStats, SessionState, ViewerSessionStats } from './statistics.ts';
import type { Subscriber, SubscriberState, Subscription, ViewerDetail } from './subscriber.ts';

export interface ViewerRequest {
  /** The result's size, so that the answer offers a sufficient H264 level. */
  readonly maxOutput: { readonly width: number; readonly height: number };
  readonly tracks: WatchedTracks;
  readonly show?: ShownPictures | undefined;
  readonly own?: boolean | undefined;
}

/** The subscriber behind a WebRTC peer: the gate decides, the peer writes. */
export class Viewer implements Subscriber {
  readonly id: string;
  readonly kind = 'viewer';
  readonly own: boolean;
  readonly peer: ViewerPeer;
  readonly #sink: SessionSink;
  readonly #subscription: Subscription;
  readonly #gate = new KeyframeGate();
  readonly #onClosed: () => void;
  readonly #voter: string;
  #shown: ShownPictures;
  /** Packets of the source were held back: it goes on with a keyframe. */
  #sourceHeld = false;
  #sessionState: SessionState | undefined;
  #closed = false;

  /**
   * @param onClosed once, when the session is over whatever ended it
   * @param voter of the shared bit rate: the key of the client's address
   */
  constructor(
    id: string,
    rtc: RtcStack,
    { maxOutput, tracks, show, own }: ViewerRequest,
    sink: SessionSink,
    subscription: Subscription,
    onClosed: () => void,
    voter: string,
  ) {
    this.id = id;
    this.own = own ?? false;
    this.#shown = show ?? { result: true, source: true };
    this.#voter = voter;
    this.#onClosed = onClosed;
    this.#sink = sink;
    this.#subscription = subscription;
    this.peer = rtc.createViewer(
      {
        onState: (state, cause) => this.#onPeerState(state, cause),
        onKeyframeRequest: (track) => subscription.requestKeyframe(track),
        onCandidate: (candidate) => sink.onCandidate(candidate),
      },
      maxOutput,
      tracks,
    );
  }

  get bitrateBps(): number {
    return this.peer.getStats().bitrateBps;
  }
  get state(): SubscriberState {
    return this.#gate.state;
  }
  get codec(): ResultCodec {
    return this.peer.resultCodec;
  }
  get renditions(): readonly Rendition[] {
    return this.#showsResult ? this.#gate.renditions : [];
  }
  get wantsSource(): boolean {
    return this.#shown.source && this.peer.sourceCodecs.length > 0;
  }
  get #showsResult(): boolean {
    return this.#shown.result && this.peer.takesResult;
  }

  /** What is shown again begins with a keyframe. */
  show(shown: ShownPictures): void {
    const before = this.#shown;
    this.#shown = shown;
    if (!this.#gate.open) return;
    if (shown.result !== before.result) {
      this.#gate.restart();
      if (shown.result) this.#subscription.started();
      else this.#subscription.interrupted();
    }
    if (shown.source && !before.source) this.#subscription.requestKeyframe('source');
  }

  report(): ViewerReport | undefined {
    if (!this.#gate.open || !this.#showsResult) return undefined;
    return { ...this.peer.getStats(), voter: this.#voter };
  }

  want(rendition: Rendition): boolean {
    return this.#showsResult && this.#gate.want(rendition);
  }

  restart(): void {
    this.#gate.restart();
  }

  onResult(frame: EncodedFrame): void {
    if (!this.#gate.open || !this.#showsResult || frame.codec !== this.codec) return;
    if (this.#gate.admits(frame)) this.peer.sendResult(packetize(frame));
  }

  onSource(packet: ForwardPacket, codec: SourceCodec): void {
    if (!this.#gate.open || !this.peer.sourceCodecs.includes(codec)) return;
    if (!this.#shown.source || (this.#sourceHeld && !startsKeyframe(codec, packet.payload))) {
      this.#sourceHeld = true;
      return;
    }
    if (this.#sourceHeld) this.peer.joinSource();
    this.#sourceHeld = false;
    this.peer.sendSource(packet, codec);
  }

  onAudio(packet: ForwardPacket): void {
    if (this.#gate.open) this.peer.sendAudio(packet);
  }

  onState(state: SessionState, reason: string, error?: AppError): void {
    if (state === this.#sessionState) return;
    this.#sessionState = state;
    this.#sink.onState(state, reason, error);
  }

  /** Records the state that the reply of `watch` has already sent. */
  knowState(state: SessionState): void {
    this.#sessionState = state;
  }

  onStats(broadcast: BroadcastStats): void {
    this.#sink.onStats(broadcast, this.stats());
  }

  stats(): ViewerSessionStats {
    const { bitrateBps, fractionLost, roundTripMs, estimateBps } = this.peer.getStats();
    return {
      bitrateBps,
      fractionLost,
      roundTripMs: roundTripMs ?? null,
      estimateBps: estimateBps ?? null,
      rendition: this.#gate.wanted,
    };
  }

  detail(): ViewerDetail {
    const { kind } = this.#gate.state;
    // Before the answer is made there is none.
    const codec = kind === 'connecting' ? null : this.codec;
    return { state: kind, codec, own: this.own, ...this.stats() };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#gate.close();
    this.#onClosed();
    await this.peer.close();
  }

  toJSON(): object {
    const accepted = this.#gate.state.kind !== 'connecting';
    return {
      kind: this.kind,
      peer: this.peer.state,
      state: this.#gate.state,
      codec: accepted ? this.codec : undefined,
      sourceCodecs: this.peer.sourceCodecs,
      shown: this.#shown,
      own: this.own,
      stats: this.peer.getStats(),
    };
  }

  #onPeerState(state: PeerState, cause?: AppError): void {
    if (this.#gate.state.kind === 'closed') return;
    switch (state) {
      case 'connected':
        if (this.#gate.connected()) this.#subscription.started();
        break;
      case 'disconnected':
        if (this.#gate.interrupted()) this.#subscription.interrupted();
        break;
      case 'closed':
        this.#gate.close();
        this.onState(
          'ended',
          'connection lost',
          cause ?? new AppError('peer.connection', 'The connection to the viewer was lost.'),
        );
        this.#subscription.ended();
        break;
      case 'connecting':
        break;
    }
  }
}
