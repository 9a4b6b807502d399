import { AVERROR_EINVAL } from 'node-av/constants';
import { Dictionary, FormatContext, IOContext, InputFormat } from 'node-av/lib';
import { libavMessage } from '../../codec/native.ts';
import { inputOptions } from '../../codec/untrusted.ts';
import { AppError } from '../../errors.ts';
import type { ByteQueue } from './byte-queue.ts';
import type { SegmentTimes } from './packed-audio.ts';

/** What a source is read from: one demuxer, or two where sound comes by its own playlist. */
export interface Input {
  readonly formats: readonly FormatContext[];
  /** Of those whose bytes have no times of their own. */
  readonly times?: ReadonlyMap<FormatContext, SegmentTimes>;
  /** Packets come faster than they play: a file, segments. */
  readonly paced: boolean;
  /** What of the source is left out, in sentences. */
  readonly notices: readonly string[];
  /** Why reading has failed, when more is known than libav says. */
  readonly failure: () => AppError | undefined;
  /** What still reads from it comes to its end. */
  readonly stop: () => void;
  /** After everything that reads from it has ended. */
  readonly close: () => Promise<void>;
}

/** A live stream's tracks show themselves within this; a track that its header names and that never comes holds the rest up. */
const ANALYSE_LIVE_US = 2_000_000;
const IO_BUFFER_BYTES = 32 * 1024;

export interface OpenOptions {
  /** Of an allow-list; undefined: probed among those of untrusted.ts (files). */
  readonly demuxer: string | undefined;
  /** What libav may open by itself; none when bytes come from a queue. */
  readonly protocols: readonly string[];
  readonly options?: Readonly<Record<string, string>>;
  readonly failure?: () => AppError | undefined;
}

/**
 * @param url for libav; nothing of it stands in errors
 * @throws AppError target.answer | target.unreachable | file.unreadable
 */
export async function openUrl(url: string, open: OpenOptions): Promise<FormatContext> {
  return await openFormat(new FormatContext(), url, open);
}

/** Bytes that are already here, or still come: libav opens nothing. */
export async function openQueue(queue: ByteQueue, demuxer: string): Promise<FormatContext> {
  const io = new IOContext();
  io.allocContextWithCallbacks(IO_BUFFER_BYTES, 0, (size) => queue.read(size));
  const format = new FormatContext();
  format.allocContext();
  format.pb = io;
  return await openFormat(format, '', { demuxer, protocols: ['none'], failure: () => queue.failure });
}

async function openFormat(format: FormatContext, url: string, open: OpenOptions): Promise<FormatContext> {
  const demuxer = open.demuxer === undefined ? null : InputFormat.findInputFormat(open.demuxer);
  if (open.demuxer !== undefined && demuxer === null) {
    throw new AppError('internal', `This FFmpeg has no demuxer for ${open.demuxer}.`);
  }
  const options = dictionary(open);
  const opened = await format.openInput(url, demuxer, options);
  options.free();
  if (opened < 0) throw open.failure?.() ?? refusedBy(opened, open);
  const found = await format.findStreamInfo(null);
  if (found >= 0) return format;
  const error = open.failure?.() ?? refusedBy(found, open);
  await format.closeInput();
  throw error;
}

function dictionary({ demuxer, protocols, options = {} }: OpenOptions): Dictionary {
  const dictionary = inputOptions(protocols);
  if (demuxer !== undefined) {
    // One demuxer, named by us.
    dictionary.set('format_whitelist', demuxer);
    dictionary.set('analyzeduration', String(ANALYSE_LIVE_US));
    // The frame rate is measured later; waiting for it would hold a live stream back for a second.
    dictionary.set('fpsprobesize', '0');
  }
  for (const [name, value] of Object.entries(options)) dictionary.set(name, value);
  return dictionary;
}

function refusedBy(code: number, { demuxer }: OpenOptions): AppError {
  const reason =
    code === AVERROR_EINVAL ? 'its format is not one of the allowed ones, or it is damaged' : libavMessage(code);
  if (demuxer === undefined) return new AppError('file.unreadable', `The file cannot be read as a video: ${reason}.`);
  return new AppError('target.answer', `The target does not answer as ${demuxer} should: ${reason}.`);
}
