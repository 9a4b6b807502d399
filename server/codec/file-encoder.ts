import {
  AV_CODEC_FLAG_GLOBAL_HEADER,
  FF_ENCODER_LIBSVTAV1,
  FF_ENCODER_LIBX264,
  FF_ENCODER_LIBX265,
} from 'node-av/constants';
import { Codec, CodecContext, Rational } from 'node-av/lib';
import { AppError } from '../errors.ts';
import { fitsH264 } from '../media/h264-level.ts';
import type { Container, FileCodec } from './containers.ts';
import { applyLook, hdrParameters } from './encoder-look.ts';
import type { PictureLook } from './file-pictures.ts';
import { libavMessage } from './native.ts';

export interface FileEncoderOptions {
  readonly width: number;
  readonly height: number;
  readonly look: PictureLook;
  /** Constant quality on x264's scale, 0 (lossless) to 51; 18 is visually close to its source. */
  readonly crf: number;
  /** x264's names, ultrafast to veryslow; other encoders get what costs about as much. */
  readonly preset: string;
  readonly threads: number;
  readonly codec: FileCodec;
  readonly timeBase: { readonly num: number; readonly den: number };
  readonly framesPerSecond: number;
  /** Parameter sets in the container's header instead of in front of keyframes. */
  readonly globalHeader: boolean;
}

export const PRESETS = [
  ...['ultrafast', 'superfast', 'veryfast', 'faster', 'fast', 'medium', 'slow', 'slower', 'veryslow', 'placebo'],
] as const;

/** SVT-AV1 counts the other way round, 13 (fastest) to 0. */
const AV1_PRESETS = [12, 11, 10, 9, 8, 6, 5, 4, 3, 2];
const ENCODERS: Readonly<Record<FileCodec, string>> = {
  h264: FF_ENCODER_LIBX264,
  hevc: FF_ENCODER_LIBX265,
  av1: FF_ENCODER_LIBSVTAV1,
};
export const CODEC_NAMES: Readonly<Record<FileCodec, string>> = { h264: 'H264', hevc: 'HEVC', av1: 'AV1' };

/**
 * The codec for a result. H264 plays everywhere, but no decoder promises anything above level 5.2 (4096x2304 at 60 frames/s):
 * larger results become HEVC, or AV1 in WebM, unless the user asks for H264.
 * @returns and a sentence for the user, where the choice is not the usual one
 * @throws AppError config.invalid when the container does not take what was asked for
 */
export function chooseCodec(
  asked: FileCodec | undefined,
  container: Container,
  ending: string,
  size: { readonly width: number; readonly height: number; readonly framesPerSecond: number },
): { readonly codec: FileCodec; readonly notice?: string } {
  const { width, height, framesPerSecond } = size;
  const fits = fitsH264(width, height, framesPerSecond);
  const what = `${width}x${height} at ${Math.round(framesPerSecond)} frames/s is above level 5.2 of H264`;
  if (asked !== undefined) {
    if (!container.video.includes(asked)) throw notTaken(asked, container, ending);
    if (asked !== 'h264' || fits) return { codec: asked };
    return { codec: asked, notice: `${what}: many players will not play it. --codec hevc or av1 does better.` };
  }
  const [usual = 'h264', ...others] = container.video;
  if (usual !== 'h264' || fits) return { codec: usual };
  const [larger = usual] = others;
  return { codec: larger, notice: `${what}, so the result is ${CODEC_NAMES[larger]} (--codec chooses).` };
}

function notTaken(asked: FileCodec, container: Container, ending: string): AppError {
  const possible = container.video.map((name) => `--codec ${name}`).join(' or ');
  return new AppError('config.invalid', `${ending} files hold no ${CODEC_NAMES[asked]}; use ${possible}.`, {
    context: { codec: asked, ending },
    remedy: 'Choose another codec, or another ending of the result; .mkv and .mp4 take all three.',
  });
}

/** @throws AppError file.unwritable with the encoder's reason */
export function openFileEncoder(file: string, options: FileEncoderOptions): CodecContext {
  const codec = Codec.findEncoderByName(ENCODERS[options.codec] as never);
  if (codec === null) throw new AppError('internal', `This FFmpeg has no encoder of ${CODEC_NAMES[options.codec]}.`);
  const context = new CodecContext();
  context.allocContext3(codec);
  context.width = options.width & ~1;
  context.height = options.height & ~1;
  context.timeBase = new Rational(options.timeBase.num, options.timeBase.den);
  context.framerate = new Rational(Math.round(options.framesPerSecond * 1000), 1000);
  applyLook(context, options.codec, options.look);
  context.threadCount = options.threads;
  if (options.globalHeader) context.setFlags(AV_CODEC_FLAG_GLOBAL_HEADER);
  const failures = Object.entries(optionsOf(options)).map(([name, value]) => context.setOption(name, value));
  const failed = Math.min(...failures);
  const code = failed < 0 ? failed : context.open2Sync(codec, null);
  if (code >= 0) return context;
  context.freeContext();
  const size = `${options.width}x${options.height}`;
  throw new AppError(
    'file.unwritable',
    `${file} cannot be written: the ${CODEC_NAMES[options.codec]} encoder does not take ${size}, preset ${options.preset} (${libavMessage(code)}).`,
    { context: { file, size, preset: options.preset }, remedy: 'Use another --scale, --codec or --preset.' },
  );
}

function optionsOf({ codec, crf, preset, threads, look }: FileEncoderOptions): Readonly<Record<string, string>> {
  const hdr = hdrParameters(codec, look);
  switch (codec) {
    case 'h264':
      return { preset, crf: String(crf), ...(hdr.length > 0 ? { 'x264-params': hdr.join(':') } : {}) };
    case 'hevc': {
      // x265 has its own threads and its own log; its scale gives the same quality some 3 steps later than x264's.
      const lossless = crf === 0 ? ':lossless=1' : '';
      const parameters = [`pools=${threads}:log-level=none${lossless}`, ...hdr].join(':');
      return { preset, crf: String(crf === 0 ? 0 : Math.min(51, crf + 3)), 'x265-params': parameters };
    }
    case 'av1': {
      // SVT-AV1 writes its settings to stderr otherwise.
      process.env['SVT_LOG'] ??= '1';
      const speed = AV1_PRESETS[PRESETS.indexOf(preset as (typeof PRESETS)[number])] ?? 8;
      // 0 to 63 instead of 0 to 51.
      return { preset: String(speed), crf: String(Math.round((crf * 63) / 51)), 'svtav1-params': `lp=${threads}` };
    }
  }
}
