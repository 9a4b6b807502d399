import type { AppError } from '../errors.ts';
import type { ResultCodec, Rung, SourceCodec } from '../media/types.ts';
import type { ForwardPacket, PacketizedFrame, ViewerPeer } from '../rtc/peers.ts';
import type { SessionSink } from './sessions.ts';
import type { BroadcastStats, SessionState, ViewerSessionStats } from '../signaling/protocol.ts';

/** One watcher of a broadcast: which rung it is on, and whether it still waits for a keyframe to begin with. */
export class Viewer {
  readonly session: string;
  readonly #peer: ViewerPeer;
  readonly #sink: SessionSink;
  #connected = false;
  #rung: Rung = 'full';
  /** The rung whose frames this viewer decodes now; differs from #rung until the new rung's keyframe arrives. */
  #playing: Rung | undefined;
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
  get rung(): Rung {
    return this.#rung;
  }
  /** Rungs whose encoder must run for this viewer: during a switch both, so that the picture never stops. */
  get neededRungs(): readonly Rung[] {
    return this.#playing === undefined || this.#playing === this.#rung ? [this.#rung] : [this.#rung, this.#playing];
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

  /** @returns true when the rung changed and its encoder should make a keyframe */
  setRung(rung: Rung): boolean {
    if (rung === this.#rung) return false;
    this.#rung = rung;
    return true;
  }

  /** Sends the frame if it belongs to what this viewer decodes. @returns true when it was sent */
  sendResult(packetized: PacketizedFrame): boolean {
    const { frame } = packetized;
    if (!this.#connected || frame.codec !== this.codec) return false;
    // A keyframe of the wanted rung switches over; anything before the first keyframe is undecodable for this viewer.
    if (frame.keyframe && frame.rung === this.#rung) this.#playing = this.#rung;
    if (frame.rung !== this.#playing) return false;
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
      rung: this.#rung,
    };
  }
}
