import { createDecipheriv } from 'node:crypto';
import type { TargetPolicy } from '../../access/target-policy.ts';
import { AppError } from '../../errors.ts';
import type { ByteQueue } from './byte-queue.ts';
import { httpGet, wholeBody, type HttpAnswer, type HttpGetOptions } from './http-get.ts';
import {
  MAX_PLAYLIST_BYTES,
  parsePlaylist,
  type MainPlaylist,
  type MediaPlaylist,
  type Resource,
  type Segment,
} from './hls-playlist.ts';
import { SegmentStart, SegmentTimes } from './packed-audio.ts';

export interface HlsOptions {
  readonly policy: TargetPolicy;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly credentialsFor: URL;
}

/** A live playlist is joined this many segments before its end (RFC 8216 section 6.3.3). */
const LIVE_EDGE_SEGMENTS = 3;
/** A playlist without a new segment for this many target durations has stopped. */
const STALLED_TARGETS = 5;
const MAX_SEGMENT_BYTES = 256 * 2 ** 20;
const MAX_KEY_BYTES = 16;

/** @throws AppError target.answer | target.refused | target.unreachable */
export async function fetchPlaylist(url: string | URL, options: HlsOptions): Promise<MainPlaylist | MediaPlaylist> {
  const answer = await httpGet(url, options);
  const body = await wholeBody(answer, MAX_PLAYLIST_BYTES);
  return parsePlaylist(body.toString('utf8'), answer.target.url);
}

/** Fetches one media playlist's segments, in order, into a queue until it ends, fails or `signal` aborts. */
export class HlsStream {
  /** Of packed audio. */
  readonly times = new SegmentTimes();
  readonly #url: string;
  readonly #options: HlsOptions;
  #mapUrl: string | undefined;
  readonly #keys = new Map<string, Buffer>();

  constructor(url: string, options: HlsOptions) {
    this.#url = url;
    this.#options = options;
  }

  /** @param first the playlist as it is now */
  async run(first: MediaPlaylist, queue: ByteQueue): Promise<void> {
    try {
      await this.#run(first, queue);
      queue.end();
    } catch (thrown) {
      queue.end(AppError.from(thrown, 'target.unreachable'));
    }
  }

  async #run(first: MediaPlaylist, queue: ByteQueue): Promise<void> {
    let playlist = first;
    let next = startOf(first);
    let newestAtMs = performance.now();
    while (!this.#options.signal.aborted) {
      const segment = playlist.segments.find(({ sequence }) => sequence >= next);
      if (segment !== undefined) {
        next = segment.sequence + 1;
        newestAtMs = performance.now();
        await this.#fetch(segment, queue);
        continue;
      }
      if (playlist.ended) return;
      const targetMs = playlist.targetSeconds * 1000;
      if (performance.now() - newestAtMs > Math.max(STALLED_TARGETS * targetMs, this.#options.timeoutMs)) {
        throw new AppError('target.unreachable', 'The playlist has stopped: it names no new segment.');
      }
      // Half a target duration after a playlist that has not changed (section 6.3.4).
      await this.#wait(targetMs / 2);
      const fresh = await fetchPlaylist(this.#url, this.#options);
      if (fresh.kind !== 'media') throw new AppError('target.answer', 'The media playlist became another kind.');
      // A server that has begun again counts from a lower number.
      const newest = fresh.segments.at(-1)?.sequence;
      if (newest !== undefined && newest < next - 1) next = startOf(fresh);
      playlist = fresh;
    }
  }

  async #fetch(segment: Segment, queue: ByteQueue): Promise<void> {
    const { map, key } = segment;
    if (map !== undefined && mapName(map) !== this.#mapUrl) {
      for await (const chunk of (await this.#get(map)).body) await queue.push(chunk);
      this.#mapUrl = mapName(map);
    }
    const answer = await this.#get(segment);
    const start = new SegmentStart(this.times);
    if (key === undefined) {
      let bytes = 0;
      for await (const chunk of answer.body) {
        bytes += chunk.length;
        if (bytes > MAX_SEGMENT_BYTES) throw new AppError('target.answer', 'A segment has no end.');
        await queue.push(start.take(chunk));
      }
      await queue.push(start.end());
      return;
    }
    const iv = key.iv ?? sequenceIv(segment.sequence);
    const decipher = createDecipheriv('aes-128-cbc', await this.#key(key.url), iv);
    const encrypted = await wholeBody(answer, MAX_SEGMENT_BYTES / 8);
    let plain: Buffer;
    try {
      plain = Buffer.concat([decipher.update(encrypted), decipher.final()]);
    } catch (cause) {
      throw new AppError('target.answer', 'A segment cannot be decrypted with its key.', { cause });
    }
    await queue.push(start.take(plain));
    await queue.push(start.end());
  }

  async #key(url: string): Promise<Buffer> {
    const known = this.#keys.get(url);
    if (known !== undefined) return known;
    const key = await wholeBody(await this.#get({ url, range: undefined }), MAX_KEY_BYTES);
    if (key.length !== MAX_KEY_BYTES) throw new AppError('target.answer', 'The key of the playlist has not 16 bytes.');
    if (this.#keys.size >= 8) this.#keys.clear();
    this.#keys.set(url, key);
    return key;
  }

  #get({ url, range }: Resource): Promise<HttpAnswer> {
    const options: HttpGetOptions = { ...this.#options, range };
    return httpGet(url, options);
  }

  #wait(ms: number): Promise<void> {
    const { signal } = this.#options;
    if (signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        signal.removeEventListener('abort', end);
        resolve();
      };
      const timer = setTimeout(end, ms);
      signal.addEventListener('abort', end);
    });
  }
}

/** An ended one from its start, a live one near its end. */
function startOf({ ended, segments }: MediaPlaylist): number {
  const first = ended ? segments[0] : (segments.at(-LIVE_EDGE_SEGMENTS) ?? segments[0]);
  return first?.sequence ?? 0;
}

function mapName({ url, range }: Resource): string {
  return `${url} ${range?.from ?? ''} ${range?.length ?? ''}`;
}

function sequenceIv(sequence: number): Buffer {
  const iv = Buffer.alloc(16);
  iv.writeBigUInt64BE(BigInt(sequence), 8);
  return iv;
}
