import path from 'node:path';
import {
  AVERROR_EINVAL,
  AVMEDIA_TYPE_VIDEO,
  AV_DISPOSITION_ATTACHED_PIC,
  AV_DISPOSITION_DEFAULT,
  AV_DISPOSITION_TIMED_THUMBNAILS,
} from 'node-av/constants';
import { Codec, CodecContext, FormatContext, type Stream } from 'node-av/lib';
import { AppError } from '../errors.ts';
import { libavMessage } from './native.ts';
import { croppingOf } from './picture-extras.ts';
import { STANDARD, inputLabel } from './standard-streams.ts';
import { stillDemuxer } from './still-input.ts';
import { liesOnSide, stillOrientation, type Orientation } from './still-orientation.ts';
import { MAX_FILE_PIXELS, allowedDecoder, boundDecoder, inputOptions, protocolsFor } from './untrusted.ts';

/** Opening a file for video-reader.ts: its container, the stream of pictures, the decoder. */

/** Time base of a stream, in seconds: num / den. */
export interface TimeBase {
  readonly num: number;
  readonly den: number;
}

export interface VideoInfo {
  readonly width: number;
  readonly height: number;
  readonly timeBase: TimeBase;
  readonly framesPerSecond: number;
  /** From the container, where it says so; otherwise estimated from the duration. */
  readonly estimatedFrames: number | undefined;
}

export interface FileInput {
  readonly format: FormatContext;
  readonly video: Stream;
  readonly decoder: CodecContext;
  /** Of a picture's file on the disk; 1 for all others: a film's rotation is its container's. */
  readonly orientation: Orientation;
}

/** A file of one picture (.png, .jpg, …), not a film of one frame. */
export function isStillFormat({ iformat }: FormatContext): boolean {
  return /_pipe$/.test(iformat?.name ?? '');
}

/**
 * @param name a path, an http or https address, or `-` for standard input; formats, codecs and protocols by allow-list (untrusted.ts)
 * @throws AppError file.unreadable with FFmpeg's reason
 */
export async function openFileInput(name: string, threads: number): Promise<FileInput> {
  const file = inputLabel(name);
  const protocols = protocolsFor(name);
  if (protocols === undefined) throw unreadable(file, 'only files and http or https addresses are read');
  const format = new FormatContext();
  const options = inputOptions(protocols);
  // As an address, so that a colon in a name is no protocol.
  const isFile = protocols.includes('file');
  const url = name === STANDARD ? 'pipe:0' : isFile ? `file:${path.resolve(name)}` : name;
  const still = isFile ? stillDemuxer(path.resolve(name)) : null;
  const opened = await format.openInput(url, still, options);
  options.free();
  if (opened === AVERROR_EINVAL) throw unreadable(file, 'its format is not one of the allowed ones, or it is damaged');
  if (opened < 0) throw unreadable(file, libavMessage(opened));
  try {
    const found = await format.findStreamInfo(null);
    if (found < 0) throw unreadable(file, indexReason(name, format) ?? libavMessage(found));
    const video = videoStream(file, format);
    const orientation = protocols.includes('file') && isStillFormat(format) ? stillOrientation(path.resolve(file)) : 1;
    return { format, video, decoder: openDecoder(file, video, threads), orientation };
  } catch (error) {
    await format.closeInput();
    throw error;
  }
}

/** The largest moving picture, or the one marked as default. Cover art and thumbnails are video streams too. */
function videoStream(file: string, format: FormatContext): Stream {
  const all = format.streams.filter(({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_VIDEO);
  const moving = all.filter(
    (stream) =>
      !stream.hasDisposition(AV_DISPOSITION_ATTACHED_PIC) && !stream.hasDisposition(AV_DISPOSITION_TIMED_THUMBNAILS),
  );
  const weight = (stream: Stream): number =>
    stream.codecpar.width * stream.codecpar.height + (stream.hasDisposition(AV_DISPOSITION_DEFAULT) ? 5e6 : 0);
  const [best] = moving.sort((a, b) => weight(b) - weight(a));
  if (best !== undefined) return best;
  throw unreadable(file, all.length > 0 ? 'it has no video, only a cover picture' : 'it has no video');
}

function openDecoder(file: string, video: Stream, threads: number): CodecContext {
  const codec = Codec.findDecoder(video.codecpar.codecId);
  if (codec === null) throw unreadable(file, 'its video codec is not known to this FFmpeg');
  if (!allowedDecoder(codec.name))
    throw unreadable(file, `its video codec, ${codec.name ?? '?'}, is not one of the allowed ones`);
  const { width, height } = video.codecpar;
  if (width * height > MAX_FILE_PIXELS) {
    throw unreadable(file, `its pictures are ${width}x${height}, more than ${MAX_FILE_PIXELS} pixels`);
  }
  const context = new CodecContext();
  context.allocContext3(codec);
  context.parametersToContext(video.codecpar);
  context.pktTimebase = video.timeBase;
  boundDecoder(context, threads);
  const code = context.open2Sync(codec, null);
  if (code >= 0) return context;
  context.freeContext();
  throw unreadable(file, `its decoder does not open (${libavMessage(code)})`);
}

export function videoInfo({ format, video, orientation }: Omit<FileInput, 'decoder'>): VideoInfo {
  const { num, den } = video.timeBase;
  const rate = [video.avgFrameRate, video.rFrameRate]
    .map(({ num: n, den: d }) => (d > 0 ? n / d : 0))
    .find((fps) => fps > 0);
  const framesPerSecond = rate ?? 30;
  const seconds =
    video.duration > 0n
      ? (Number(video.duration) * num) / den
      : format.duration > 0n
        ? Number(format.duration) / 1e6
        : 0;
  const counted = Number(video.nbFrames);
  const estimated = counted > 0 ? counted : Math.round(seconds * framesPerSecond);
  const { left, right, top, bottom } = croppingOf(video.codecpar) ?? { left: 0, right: 0, top: 0, bottom: 0 };
  const [width, height] = [video.codecpar.width - left - right, video.codecpar.height - top - bottom];
  return {
    ...(liesOnSide(orientation) ? { width: height, height: width } : { width, height }),
    timeBase: { num, den },
    framesPerSecond,
    estimatedFrames: estimated > 0 ? estimated : undefined,
  };
}

/** A pipe does not go back: of an MP4 or MOV with its index at the end no picture can be found. */
export function indexReason(name: string, { iformat }: FormatContext): string | undefined {
  if (name !== STANDARD || iformat?.name?.startsWith('mov') !== true) return undefined;
  return 'an MP4 or MOV comes through a pipe only with its index in front (ffmpeg -movflags +faststart makes one); give the name of the file';
}

export function unreadable(file: string, reason: string): AppError {
  return new AppError('file.unreadable', `${file} cannot be read as a video: ${reason}.`, {
    context: { file, reason },
  });
}
