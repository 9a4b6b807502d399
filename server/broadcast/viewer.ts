import type { AppError } from '../errors.ts';
import type { ResultCodec, Rendition, SourceCodec } from '../media/types.ts';
import type { ForwardPacket, PacketizedFrame, ViewerPeer } from '../rtc/peers.ts';
import type { SessionSink } from './sessions.ts';
import type { BroadcastStats, SessionState, ViewerSessionStats } from './statistics.ts';

/** One watcher of a broadcast: which rendition it is on, and whether it still waits for a keyframe to begin with. */
export class Viewer {
  readonly session: string;
  readonly #peer: ViewerPeer;
  readonly #sink: SessionSink;
  #connected = false;
  #rendition: Rendition = 'full';
  /** The rendition whose frames this viewer decodes now; differs from #rendition until the new rendition's keyframe arrives. */
  #playing: Rendition | undefined;
  #state: SessionState | undefined;

  constructor(session: string, peer: ViewerPeer, sink: SessionSink) {
    this.session = session;
    this.#peer = peer;
    this.#sink = sink;
  }

  get peer(): ViewerPeer {
    return this.#peer;
  }
  get connected(): boolean {
    return this.#connected;
  }
  get codec(): ResultCodec {
    return this.#peer.resultCodec;
  }
  get rendition(): Rendition {
    return this.#rendition;
  }
  /** Renditions whose encoder must run for this viewer: during a switch both, so that the picture never stops. */
  get neededRenditions(): readonly Rendition[] {
    return this.#playing === undefined || this.#playing === this.#rendition
      ? [this.#rendition]
      : [this.#rendition, this.#playing];
  }
  get wantsSource(): boolean {
    return this.#peer.sourceCodecs.length > 0;
  }

  setConnected(connected: boolean): void {
    this.#connected = connected;
    if (!connected) this.#playing = undefined;
  }

  /** The stream behind it starts anew (pipeline restarted): the next frame this viewer gets is a keyframe. */
  restart(): void {
    this.#playing = undefined;
  }

  /** @returns true when the rendition changed and its encoder should make a keyframe */
  setRendition(rendition: Rendition): boolean {
    if (rendition === this.#rendition) return false;
    this.#rendition = rendition;
    return true;
  }

  /** Sends the frame if it belongs to what this viewer decodes. @returns true when it was sent */
  sendResult(packetized: PacketizedFrame): boolean {
    const { frame } = packetized;
    if (!this.#connected || frame.codec !== this.codec) return false;
    // A keyframe of the wanted rendition switches over; anything before the first keyframe is undecodable for this viewer.
    if (frame.keyframe && frame.rendition === this.#rendition) this.#playing = this.#rendition;
    if (frame.rendition !== this.#playing) return false;
    this.#peer.sendResult(packetized);
    return true;
  }

  sendSource(packet: ForwardPacket, codec: SourceCodec): void {
    if (this.#connected && this.#peer.sourceCodecs.includes(codec)) this.#peer.sendSource(packet, codec);
  }

  sendAudio(packet: ForwardPacket): void {
    if (this.#connected) this.#peer.sendAudio(packet);
  }

  pushState(state: SessionState, reason: string, error?: AppError): void {
    if (state === this.#state) return;
    this.#state = state;
    this.#sink.onState(state, reason, error);
  }

  /** The state the reply of `watch` already told. */
  knowState(state: SessionState): void {
    this.#state = state;
  }

  pushStats(broadcast: BroadcastStats): void {
    this.#sink.onStats(broadcast, this.stats());
  }

  stats(): ViewerSessionStats {
    const { bitrateBps, fractionLost, roundTripMs, estimateBps } = this.#peer.getStats();
    return {
      bitrateBps,
      fractionLost,
      roundTripMs: roundTripMs ?? null,
      estimateBps: estimateBps ?? null,
      rendition: this.#rendition,
    };
  }
}
