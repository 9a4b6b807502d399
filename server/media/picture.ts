import type { Colour, MediaTime } from './types.ts';
import type { FrameTrace } from './steps.ts';

/**
 * Planar YUV 4:2:0, 8 bits but where `bitDepth` says more. Chroma planes are ceil(width/2) x ceil(height/2). Strides in bytes, at least the plane's width.
 * Planes are read-only for the receiver of a picture (a decoder may still refer to them); a plane's array may be longer
 * than stride * rows. Live pictures are always BT.601 limited range: the decoder converts what is not. Pictures from
 * files keep their colour, and a result has the colour of its source.
 */
export interface Picture {
  readonly width: number;
  readonly height: number;
  readonly y: Uint8Array;
  readonly u: Uint8Array;
  readonly v: Uint8Array;
  readonly yStride: number;
  readonly uvStride: number;
  readonly colour: Colour;
  /** 10: samples are two bytes each, little-endian. Only from files, for upscalers that take them (`UpscalerInfo.maxBitDepth`). */
  readonly bitDepth?: 8 | 10;
  readonly mediaTime: MediaTime;
  /** Carried along so that every step can stamp it. */
  readonly trace: FrameTrace;
  /**
   * Gives pooled or native memory back at once instead of at some garbage collection. Optional to have, optional to call,
   * idempotent; the planes must not be touched afterwards. An upscaler calls it on a pushed picture when it is done with
   * it; the receiver of `onPicture` calls it on the result. Pictures backed by ordinary ArrayBuffers have none.
   */
  release?(): void;
}
