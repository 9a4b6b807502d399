import type { Packet, Stream } from 'node-av/lib';
import type { Picture } from '../media/picture.ts';

export interface PictureTiming {
  /** Of the picture in the result, from 0. */
  readonly index: number;
  /** In the source's time base; later than the last one's. */
  readonly pts: bigint;
  readonly duration: bigint;
}

/** What a result is written with: a film, or pictures. */
export interface FilmWriter {
  readonly width: number;
  readonly height: number;
  readonly notices: readonly string[];
  readonly damagedPackets: number;
  /** The picture stays the caller's. */
  write(picture: Picture, timing: PictureTiming): Promise<void>;
  /** In place of write(), for a picture that a run before has made. */
  passKept(timing: PictureTiming): Promise<void>;
  /** Whether what is kept for another run ends with a picture, so that it needs remember() before write(). Absent: never. */
  endsSegment?(index: number): boolean;
  /** What the model remembers behind that picture. */
  remember?(memory: Uint8Array): void;
  /** Takes a packet of one of the source's other streams and frees it. */
  copy(packet: Packet, from: Stream): Promise<void>;
  finish(): Promise<void>;
  /** Idempotent; without finish() before it the result is incomplete. */
  close(): Promise<void>;
}
