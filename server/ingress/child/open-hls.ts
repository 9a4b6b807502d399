import type { FormatContext } from 'node-av/lib';
import { AppError } from '../../errors.ts';
import { ByteQueue } from './byte-queue.ts';
import { HlsStream, fetchPlaylist, type HlsOptions } from './hls-stream.ts';
import type { MainPlaylist, MediaPlaylist, Variant } from './hls-playlist.ts';
import { openQueue, type Input } from './input.ts';
import type { SegmentTimes } from './packed-audio.ts';

interface Reader {
  readonly format: FormatContext;
  readonly queue: ByteQueue;
  /** Of packed audio. */
  readonly times: SegmentTimes | undefined;
}

/**
 * HLS by our own client: every playlist, key and segment is fetched with its address checked, and libav gets bytes and the demuxer's
 * name, never an address: a playlist cannot make it open anything.
 * @throws AppError target.answer | target.refused | target.unreachable | media.unsupported
 */
export async function openHls(url: URL, maxPixels: number, options: Omit<HlsOptions, 'signal'>): Promise<Input> {
  const stop = new AbortController();
  const checked = { ...options, signal: stop.signal };
  const readers: Reader[] = [];
  const notices: string[] = [];
  const open = async (address: string, playlist: MediaPlaylist): Promise<void> => {
    const queue = new ByteQueue();
    const stream = new HlsStream(address, checked);
    void stream.run(playlist, queue);
    const demuxer = demuxerFor(await queue.head(HEAD_BYTES));
    if (demuxer === undefined) {
      queue.end();
      throw (
        queue.failure ?? new AppError('target.answer', 'The segments are neither MPEG-TS nor fragmented MP4 nor AAC.')
      );
    }
    try {
      const times = demuxer === 'aac' ? stream.times : undefined;
      readers.push({ format: await openQueue(queue, demuxer), queue, times });
    } catch (error) {
      queue.end();
      throw error;
    }
  };
  const end = (): void => {
    stop.abort();
    for (const { queue } of readers) queue.end();
  };
  const close = async (): Promise<void> => {
    end();
    for (const { format } of readers.splice(0)) await format.closeInput();
  };
  try {
    const first = await fetchPlaylist(url, checked);
    if (first.kind === 'media') await open(url.href, first);
    else {
      const { variant, audioUrl } = chosen(first, maxPixels);
      await open(variant.url, await mediaPlaylist(variant.url, checked));
      if (audioUrl !== undefined) {
        await open(audioUrl, await mediaPlaylist(audioUrl, checked)).catch((error: unknown) => {
          notices.push(`The sound of the playlist is left out: ${AppError.from(error).message}`);
        });
      }
    }
  } catch (error) {
    await close();
    throw error;
  }
  const failure = (): AppError | undefined =>
    readers.map(({ queue }) => queue.failure).find((error) => error !== undefined);
  const times = new Map(
    readers.flatMap(({ format, times }) => (times === undefined ? [] : [[format, times] as const])),
  );
  return { formats: readers.map(({ format }) => format), times, paced: true, notices, failure, stop: end, close };
}

async function mediaPlaylist(url: string, options: HlsOptions): Promise<MediaPlaylist> {
  const playlist = await fetchPlaylist(url, options);
  if (playlist.kind === 'media') return playlist;
  throw new AppError('target.answer', 'A playlist of playlists names another one.');
}

/** The best H264 rendition that the server takes; where none fits, the smallest. */
export function chosen(
  { variants, audio }: MainPlaylist,
  maxPixels: number,
): { variant: Variant; audioUrl: string | undefined } {
  const readable = variants.filter(({ codecs }) => codecs === '' || /avc[13]|vp0?[89]/i.test(codecs));
  const among = readable.length > 0 ? readable : variants;
  const fitting = among.filter(({ pixels }) => pixels <= maxPixels);
  const size = ({ pixels, bandwidthBps }: Variant): number => pixels * 1e3 + bandwidthBps / 1e6;
  const sorted = [...(fitting.length > 0 ? fitting : among)].sort((a, b) => size(b) - size(a));
  const variant = (fitting.length > 0 ? sorted[0] : sorted.at(-1)) as Variant;
  const group = audio.filter((entry) => entry.group === variant.audioGroup);
  return { variant, audioUrl: (group.find(({ isDefault }) => isDefault) ?? group[0])?.url };
}

const HEAD_BYTES = 189;
const TS_SYNC = 0x47;

function demuxerFor(head: Buffer): 'mpegts' | 'mov' | 'aac' | undefined {
  if (head[0] === TS_SYNC && head[HEAD_BYTES - 1] === TS_SYNC) return 'mpegts';
  // ADTS (ISO/IEC 14496-3 section 1.A.2.2.1): twelve bits of sync and, of the layer, two of 0.
  if (head.length >= 2 && (head.readUInt16BE(0) & 0xfff6) === 0xfff0) return 'aac';
  return ['ftyp', 'styp', 'moof', 'moov', 'sidx'].includes(head.toString('latin1', 4, 8)) ? 'mov' : undefined;
}
