import type { AppError } from '../errors.ts';
import type { Picture } from '../media/picture.ts';

/**
 * The interface every kind of upscaler implements: `resize`, `onnx`, `flashvsr`.
 *
 * It is made for the hardest of them. FlashVSR works in chunks (25 frames in before the first 21 come out, then 8 for 8),
 * looks ahead, pads to a fixed grid and shares one engine between streams. Frame-by-frame kinds are the special case
 * chunkFrames = 1, lookAheadFrames = 0.
 */

/** What a person should know about the upscaler at work; shown on the page, in logs and in /metrics. */
export interface UpscalerInfo {
  readonly kind: 'resize' | 'onnx' | 'flashvsr';
  /** Name for people: "Lanczos resize", "nano x4", "FlashVSR v1.1". */
  readonly label: string;
  /** False for a plain resize: the page never calls that super-resolution. */
  readonly superResolution: boolean;
  readonly scale: number;
  /** "cpu", "NVIDIA H100 80GB HBM3", ... */
  readonly device: string;
  /** Frames that must follow a frame before it can come out (FlashVSR: 4 beyond a chunk's last). */
  readonly lookAheadFrames: number;
  /** Frames that come out together. */
  readonly chunkFrames: number;
  /** Frames required before the first chunk; defaults to lookAheadFrames. */
  readonly firstChunkFrames?: number;
  /** Quality rungs, best first; rung 0 is normal operation. At least one. */
  readonly rungs: readonly string[];
  /** The first `chunkedRungs` rungs are chunked; the rest are frame by frame. Absent: all are chunked. */
  readonly chunkedRungs?: number;
  /** Pictures of more bits than this must be converted first. Absent: 8. */
  readonly maxBitDepth?: 8 | 10;
  /** Scales the fields of interlaced pictures apart. Absent: pictures must be progressive. */
  readonly takesFields?: boolean;
  /**
   * A stream that begins this many frames earlier (rounded to whole chunks) makes of a frame what one makes that began before that:
   * how far back the model remembers. Absent: each picture is made by itself.
   */
  readonly warmUpFrames?: number;
  /** Drawn content (text, lines) looks worse by the model than by its last rung, a plain resize. Absent: it does not. */
  readonly harmsDrawnContent?: boolean;
  /** Its streams give out what they remember (`UpscalerStream.memory`), so that another run goes on as if there had been one. Absent: false. */
  readonly givesMemory?: boolean;
  /** All streams of the process share one engine: their loads add up. */
  readonly shared?: boolean;
}

export interface StreamFormat {
  readonly sourceWidth: number;
  readonly sourceHeight: number;
  /** Upper bound on output pixels, for upscalers that can choose their scale. Absent: the kind's own bound. */
  readonly maxResultPixels?: number;
  /**
   * Place of the stream's first frame in a film that another stream has begun, whole chunks; what depends on the place (FlashVSR's
   * noise and angles) is as it was there. Absent: 0.
   */
  readonly startFrame?: number;
  /** What a stream of this size and this model remembered: the picture pushed first is the one that would have followed there. */
  readonly memory?: Uint8Array | undefined;
}

export interface UpscalerListener {
  /** Pictures arrive in the order they were pushed, with the mediaTime they were pushed with; never one that was not pushed. */
  onPicture(picture: Picture): void;
  /** Scope `frame`: that frame is lost, the stream goes on. Scope `stream`: the stream is closed. Scope `process`: the engine is gone. */
  onError(error: AppError): void;
}

/** `full`: the bounded queue has no room; the caller drops the frame (reason `queue-full`) and goes on. */
export type PushResult = 'accepted' | 'full' | 'closed';

export interface UpscalerStream {
  /** Fixed for the life of the stream: a source that changes size is rescaled into it, only a change of aspect opens a new stream. */
  readonly outputWidth: number;
  readonly outputHeight: number;
  /**
   * The picture belongs to the stream once accepted (it releases it); otherwise it stays the caller's. Frame-by-frame
   * kinds may call `onPicture` before this returns. Never waits for another frame or for the device.
   */
  push(picture: Picture): PushResult;
  /** Pictures accepted and not yet delivered. */
  readonly pending: number;
  /** True when a push now would be accepted. */
  readonly ready: boolean;
  /**
   * Microseconds spent computing since the stream was opened (for an engine shared by several streams: this stream's
   * share). The load is its increase per second. Without it a stream counts as busy while pictures are pending, which
   * is wrong for kinds that hold pictures back for their look-ahead: those must have it.
   */
  readonly busyUs?: number;
  /** Rungs before this one are not for a source of this size: their result would be too large. Absent: 0. */
  readonly firstRung?: number;
  /** Index into `UpscalerInfo.rungs`; takes effect on the next picture or chunk. */
  setRung(rung: number): void;
  /** Delivers everything pushed so far (file mode, publisher gone); resolves when the last picture was delivered. */
  flush(): Promise<void>;
  /** What the model remembers of the pictures that came out, for `StreamFormat.memory`; while none is pending. @throws AppError model.run */
  readonly memory?: (() => Promise<Uint8Array>) | undefined;
  /** Idempotent, safe at any time; pictures still inside are discarded. */
  close(): Promise<void>;
}

export interface Upscaler {
  readonly info: UpscalerInfo;
  /**
   * @throws AppError engine.memory | engine.full when the stream does not fit, with the numbers in the message
   */
  openStream(format: StreamFormat, listener: UpscalerListener): Promise<UpscalerStream>;
  close(): Promise<void>;
}
