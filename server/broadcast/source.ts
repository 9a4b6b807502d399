import type { AppError } from '../errors.ts';
import type { AccessUnit, DropReason, SourceCodec } from '../media/types.ts';
import type { ForwardPacket } from '../rtc/peers.ts';
import type { BroadcastStats, SessionState } from './statistics.ts';

/** Totals since the start; rates over the last second. */
export interface SourceStats {
  readonly codec: SourceCodec | undefined;
  readonly bitrateBps: number;
  readonly framesPerSecond: number;
  readonly packetsLost: number;
  /** Pictures whose timestamp stood still or ran backwards; they got the time of their arrival. */
  readonly timestampsReplaced: number;
  readonly hasAudio: boolean;
}

/** Where a source delivers. Calls of a source that another one has replaced are ignored. */
export interface SourceSink {
  /** The connection is up: pictures can come. */
  onConnected(): void;
  /** Complete, ordered access units for the pipeline; media time goes on from source to source by the broadcast's clock. */
  onAccessUnit(unit: AccessUnit): void;
  /** The untouched packets, for viewers of the source; a source that has none leaves this out. */
  onVideoPacket(packet: ForwardPacket, codec: SourceCodec): void;
  onAudioPacket(packet: ForwardPacket): void;
  onDrop(reason: DropReason, frames: number): void;
  /** The source has ended by itself. */
  onEnded(reason: string, error: AppError): void;
}

/** Brings frames into a broadcast: a publisher (WebRTC), a pulled stream, a file. No method may throw or block. */
export interface Source {
  readonly id: string;
  /** Delivers to `sink` from here on, until close(). Called once. */
  start(sink: SourceSink): void;
  /** A decoder cannot go on, or a viewer of the source has joined. The source bounds how often it acts on this. */
  requestKeyframe(): void;
  getStats(): SourceStats;
  /** Its video comes as packets too (onVideoPacket), for those who take the source; left out, it does. */
  readonly packetized?: boolean;
  /** `ended` is the last call; `error` says why when the source did not ask for it. */
  onState(state: SessionState, reason: string, error?: AppError): void;
  /** Once a second. */
  onStats(stats: BroadcastStats): void;
  /** Idempotent. */
  close(): Promise<void>;
}

/** The permission to bring a source; release() gives it back unless attach() has used it. */
export interface Claim {
  /**
   * Makes the source the broadcast's, in place of the one it has.
   * @returns the token that lets the same owner come back
   * @throws AppError broadcast.nameTaken: another source came while this one was being made
   */
  attach(source: Source): string;
  /** Idempotent. */
  release(): void;
}
