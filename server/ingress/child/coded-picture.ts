import type { Packet } from 'node-av/lib';
import type { SourceCodec } from '../../media/types.ts';

export interface CodedPicture {
  readonly codec: SourceCodec;
  readonly data: Buffer;
  readonly keyframe: boolean;
  /** 1/90000 s, where it is not the packet's: pictures that were decoded come out later, in presentation order. */
  readonly timestamp?: number;
}

/** A container's video packets as access units. */
export interface VideoTrack {
  /** @param packet its times are by the source's one clock */
  convert(packet: Packet): CodedPicture[];
  /** At the stream's end: pictures that a decoder still holds back for their order. Nothing can be converted after it. */
  end(): CodedPicture[];
  close(): void;
}
