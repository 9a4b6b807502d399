import { AppError } from '../../errors.ts';

/** HLS playlists (RFC 8216) as far as a live source needs them; every address in them stays text until it is fetched and checked. */

export interface ByteRange {
  readonly from: number;
  readonly length: number;
}
export interface Resource {
  readonly url: string;
  readonly range: ByteRange | undefined;
}
export interface SegmentKey {
  readonly url: string;
  /** 16 bytes; absent: the media sequence number (section 5.2). */
  readonly iv: Buffer | undefined;
}
export interface Segment extends Resource {
  readonly sequence: number;
  readonly durationSeconds: number;
  readonly key: SegmentKey | undefined;
  readonly map: Resource | undefined;
}
export interface MediaPlaylist {
  readonly kind: 'media';
  readonly targetSeconds: number;
  readonly ended: boolean;
  readonly segments: readonly Segment[];
}
export interface Variant {
  readonly url: string;
  readonly bandwidthBps: number;
  readonly pixels: number;
  readonly codecs: string;
  readonly audioGroup: string | undefined;
}
export interface MainPlaylist {
  readonly kind: 'main';
  readonly variants: readonly Variant[];
  /** Sound with playlists of its own. */
  readonly audio: readonly { readonly group: string; readonly url: string; readonly isDefault: boolean }[];
}

export const MAX_PLAYLIST_BYTES = 2 ** 20;
const MAX_LINES = 20_000;

/** @param base where the playlist came from: addresses in it are relative to that. @throws AppError target.answer */
export function parsePlaylist(text: string, base: URL): MainPlaylist | MediaPlaylist {
  const lines = text.split(/\r?\n/).map((line) => line.trim());
  if (lines[0]?.replace(/^\uFEFF/, '') !== '#EXTM3U') throw wrong('is no HLS playlist');
  if (lines.length > MAX_LINES) throw wrong(`has more than ${MAX_LINES} lines`);
  const resolved = (reference: string): string => {
    if (!URL.canParse(reference, base.href)) throw wrong('names something that is no address');
    return new URL(reference, base).href;
  };
  return lines.some((line) => line.startsWith('#EXT-X-STREAM-INF:'))
    ? parseMain(lines, resolved)
    : parseMedia(lines, resolved);
}

function parseMain(lines: readonly string[], resolved: (reference: string) => string): MainPlaylist {
  const variants: Variant[] = [];
  const audio: { group: string; url: string; isDefault: boolean }[] = [];
  let pending: ReadonlyMap<string, string> | undefined;
  for (const line of lines) {
    if (line.startsWith('#EXT-X-STREAM-INF:')) pending = attributes(line);
    else if (line.startsWith('#EXT-X-MEDIA:')) {
      const media = attributes(line);
      const [uri, group] = [media.get('URI'), media.get('GROUP-ID')];
      if (media.get('TYPE') !== 'AUDIO' || uri === undefined || group === undefined) continue;
      audio.push({ group, url: resolved(uri), isDefault: media.get('DEFAULT') === 'YES' });
    } else if (line !== '' && !line.startsWith('#') && pending !== undefined) {
      const [width = 0, height = 0] = (pending.get('RESOLUTION') ?? '').split('x').map(Number);
      variants.push({
        url: resolved(line),
        bandwidthBps: Number(pending.get('BANDWIDTH') ?? 0) || 0,
        pixels: width * height || 0,
        codecs: pending.get('CODECS') ?? '',
        audioGroup: pending.get('AUDIO'),
      });
      pending = undefined;
    }
  }
  if (variants.length === 0) throw wrong('names no stream');
  return { kind: 'main', variants, audio };
}

function parseMedia(lines: readonly string[], resolved: (reference: string) => string): MediaPlaylist {
  const segments: Segment[] = [];
  let [targetSeconds, sequence, ended] = [0, 0, false];
  let durationSeconds: number | undefined;
  let range: ByteRange | undefined;
  let key: SegmentKey | undefined;
  let map: Resource | undefined;
  for (const line of lines) {
    const [tag = ''] = line.split(':', 1);
    const value = line.slice(tag.length + 1);
    switch (tag) {
      case '#EXT-X-TARGETDURATION':
        targetSeconds = seconds(value);
        continue;
      case '#EXT-X-MEDIA-SEQUENCE':
        sequence = whole(value);
        continue;
      case '#EXTINF':
        durationSeconds = seconds(value.split(',', 1)[0] ?? '');
        continue;
      case '#EXT-X-BYTERANGE':
        range = byteRange(value, segments.at(-1)?.range);
        continue;
      case '#EXT-X-KEY':
        key = keyOf(attributes(line), resolved);
        continue;
      case '#EXT-X-MAP':
        map = mapOf(attributes(line), resolved);
        continue;
      case '#EXT-X-ENDLIST':
        ended = true;
        continue;
    }
    if (line === '' || line.startsWith('#') || durationSeconds === undefined) continue;
    segments.push({ url: resolved(line), range, durationSeconds, sequence: sequence + segments.length, key, map });
    [durationSeconds, range] = [undefined, undefined];
  }
  if (segments.length === 0 && targetSeconds === 0) throw wrong('is an HLS playlist without segments');
  return { kind: 'media', targetSeconds: Math.max(1, targetSeconds), ended, segments };
}

function keyOf(key: ReadonlyMap<string, string>, resolved: (reference: string) => string): SegmentKey | undefined {
  const method = key.get('METHOD');
  if (method === 'NONE') return undefined;
  const [uri, iv, format = 'identity'] = [key.get('URI'), key.get('IV'), key.get('KEYFORMAT')];
  if (method !== 'AES-128' || uri === undefined || format !== 'identity') {
    throw new AppError('media.unsupported', `The playlist is encrypted with ${method ?? 'no method'} (${format}).`, {
      remedy: 'Only AES-128 with a key by address is read.',
    });
  }
  if (iv !== undefined && !/^0x[0-9a-f]{32}$/i.test(iv)) throw wrong('has a malformed IV');
  return { url: resolved(uri), iv: iv === undefined ? undefined : Buffer.from(iv.slice(2), 'hex') };
}

function mapOf(map: ReadonlyMap<string, string>, resolved: (reference: string) => string): Resource {
  const [uri, range] = [map.get('URI'), map.get('BYTERANGE')];
  if (uri === undefined) throw wrong('has an EXT-X-MAP without URI');
  return { url: resolved(uri), range: range === undefined ? undefined : byteRange(range, undefined) };
}

/** `length[@offset]`; without an offset it follows the segment before (section 4.3.2.2). */
function byteRange(text: string, before: ByteRange | undefined): ByteRange {
  const [length = '', offset] = text.split('@');
  const from = offset === undefined ? (before === undefined ? 0 : before.from + before.length) : whole(offset);
  return { from, length: Math.max(1, whole(length)) };
}

/** Attribute lists of section 4.2. A name is tried from its first character alone: a long run of them costs its length, not its square. */
function attributes(line: string): ReadonlyMap<string, string> {
  const list = line.slice(line.indexOf(':') + 1);
  return new Map(
    [...list.matchAll(/(?<![A-Z0-9-])([A-Z0-9-]+)=("[^"]*"|[^",]*)/g)].map(([, name = '', value = '']) => [
      name,
      value.replace(/^"|"$/g, ''),
    ]),
  );
}

function seconds(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value) || value < 0 || value > 3600)
    throw wrong('has a malformed duration');
  return value;
}

function whole(text: string): number {
  const value = Number(text);
  if (text.trim() === '' || !Number.isSafeInteger(value) || value < 0) throw wrong('has a malformed number');
  return value;
}

function wrong(what: string): AppError {
  return new AppError('target.answer', `The target's answer ${what}.`);
}
