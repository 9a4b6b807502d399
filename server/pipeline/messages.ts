import type { Config } from '../config/config.ts';
import type { AppErrorJson } from '../errors.ts';
import type { UpscalerInfo } from '../upscalers/upscaler.ts';
import type { UpscalerSpec } from '../upscalers/spec.ts';
import type { EngineSlot } from './engine-share.ts';
import type { LadderStep } from './ladder.ts';
import type { AccessUnit, DropReason, EncodedFrame, ResultCodec, Rendition } from '../media/types.ts';

/** What travels between the RTP thread and a broadcast's pipeline worker. Structured clone; `data` buffers are transferred. */

export interface EncoderRequest {
  readonly codec: ResultCodec;
  readonly rendition: Rendition;
  readonly bitrateBps: number;
}

/** What can change while a pipeline runs; meanings as the settings of these names. */
export type PipelineSettings = Readonly<Pick<Config['media'], 'keyframeIntervalSeconds' | 'ladder'>>;

export interface PipelineOptions
  extends
    PipelineSettings,
    Readonly<Pick<Config['media'], 'maxQueueMs' | 'growAfterMs' | 'keyframeMaxRatio' | 'spareDrawnContent'>>,
    Readonly<Pick<Config['limits'], 'maxSourcePixels' | 'maxResultPixels'>> {
  readonly name: string;
  readonly upscaler: UpscalerSpec;
  /** Where this pipeline meets the others of the same engine. */
  readonly engineSlot?: EngineSlot | undefined;
}

export type ToPipeline =
  | { readonly type: 'accessUnit'; readonly unit: AccessUnit }
  /** The complete list: encoders not named are closed, new ones opened, changed bit rates applied. */
  | { readonly type: 'encoders'; readonly encoders: readonly EncoderRequest[] }
  | { readonly type: 'settings'; readonly settings: PipelineSettings }
  /** The next frame out of this encoder shall be a keyframe. */
  | { readonly type: 'keyframe'; readonly codec: ResultCodec; readonly rendition: Rendition }
  /** The publisher has left for now: forget decoder state, deliver what is inside. */
  | { readonly type: 'reset' }
  | { readonly type: 'close' };

export interface PipelineFormat {
  readonly sourceWidth: number;
  readonly sourceHeight: number;
  /** What encoders of rendition `full` produce: the upscaler's size, cropped to even sides. */
  readonly outputWidth: number;
  readonly outputHeight: number;
  /**
   * From a picture's arrival to its leaving the pipeline, by design (presentation.ts): what audio is to be delayed by.
   * Announced again when the source's frame rate, and with it a chunked model's delay, proves to be another.
   */
  readonly presentationDelayMs?: number;
  /** Part of the way from arrival to leaving that B-frames need; 0: the source has none. */
  readonly reorderDelayMs?: number;
}

/** Once a second. Times are medians of the second in milliseconds; counters are totals since start. */
export interface PipelineStats {
  readonly framesDecoded: number;
  readonly framesUpscaled: number;
  readonly framesEncoded: number;
  readonly keyframesEncoded: number;
  readonly drops: Readonly<Partial<Record<DropReason, number>>>;
  readonly decodeMs: number;
  readonly upscaleMs: number;
  readonly encodeMs: number;
  /** Waiting in front of the upscaler, frames. */
  readonly queueDepth: number;
  /** Share of the second the upscaler was busy, 0..1; of an engine that streams share: by all of them. */
  readonly load: number;
  /** Index into UpscalerInfo.rungs. */
  readonly ladderRung: number;
  /** From a picture's arrival to its leaving the pace stage; what audio is delayed by. */
  readonly presentationDelayMs: number;
  /** How long pictures wait for their place in presentation order, on average; 0: the source has no B-frames. */
  readonly reorderDelayMs: number;
  /** Pictures that left the pace stage more than 15 ms late, since the start. */
  readonly framesLate: number;
}

export type FromPipeline =
  /** The thread has worked on so many access units; none: it has loaded its modules and takes messages. */
  | { readonly type: 'taken'; readonly units: number }
  | { readonly type: 'ready'; readonly info: UpscalerInfo }
  | { readonly type: 'format'; readonly format: PipelineFormat }
  | { readonly type: 'frame'; readonly frame: EncodedFrame }
  /** The decoder cannot go on without a keyframe; the publisher is asked for one (rate-limited by the receiver of this). */
  | { readonly type: 'needKeyframe'; readonly reason: string }
  | { readonly type: 'ladder'; readonly step: LadderStep; readonly label: string }
  | { readonly type: 'stats'; readonly stats: PipelineStats }
  | { readonly type: 'error'; readonly error: AppErrorJson }
  | { readonly type: 'closed' };
