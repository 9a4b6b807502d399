import type { Packet, Stream } from 'node-av/lib';
import type { Picture } from '../media/picture.ts';

/** What a result is written with: a film, or pictures. */
export interface FilmWriter {
  readonly width: number;
  readonly height: number;
  readonly notices: readonly string[];
  readonly damagedPackets: number;
  write(picture: Picture, pts: bigint, duration: bigint): Promise<void>;
  /** Takes a packet of one of the source's other streams and frees it. */
  copy(packet: Packet, from: Stream): Promise<void>;
  finish(): Promise<void>;
  /** Idempotent; without finish() before it the result is incomplete. */
  close(): Promise<void>;
}
