import type { FastifyInstance } from 'fastify';
import { isToken } from '../access/bearer.ts';
import { broadcastName } from '../broadcast/name.ts';
import { AppError } from '../errors.ts';
import type { HttpAccess } from './authorize.ts';
import { readDiskFile, sendDiskFile } from './disk-files.ts';

/** What the endpoint needs of the HLS outputs (egress/hls-files.ts). */
export interface HlsFolders {
  /** @returns a file's path; undefined for what no output writes */
  find(output: string, broadcast: string, file: string): string | undefined;
}

const PLAYLIST = { type: 'application/vnd.apple.mpegurl', cache: 'no-cache' } as const;
/** Its bytes never change, and its number never comes back. */
const SEGMENT = { type: 'video/mp2t', cache: 'private, max-age=60' } as const;
/** A hundred segments have some ten kilobytes. */
const MAX_PLAYLIST_BYTES = 256 * 1024;

/**
 * `GET /hls/OUTPUT/BROADCAST/index.m3u8` and the segments beside it, for the right to watch. A player can do nothing but open
 * addresses: the token may stand in the query, `?token=`, and the playlist then has it in its addresses, too.
 */
export function registerHls(app: FastifyInstance, access: HttpAccess, folders: HlsFolders): void {
  app.get<{ Params: { output: string; '*': string } }>('/hls/:output/*', async (request, reply) => {
    const { output, '*': rest } = request.params;
    const slash = rest.lastIndexOf('/');
    const [broadcast, file] = [broadcastName.safeParse(rest.slice(0, Math.max(0, slash))), rest.slice(slash + 1)];
    const token = queryToken(request.query);
    await access.authorize(request, 'hls', broadcast.data, token);
    const path = broadcast.success ? folders.find(output, broadcast.data, file) : undefined;
    if (path === undefined) throw new AppError('request.notFound', 'No HLS output writes that.');
    if (!file.endsWith('.m3u8')) return sendDiskFile(request, reply, { path, ...SEGMENT });
    if (token === undefined) return sendDiskFile(request, reply, { path, ...PLAYLIST });
    const playlist = withToken(await readDiskFile(path, MAX_PLAYLIST_BYTES), token);
    return reply.header('Cache-Control', 'no-store').header('Content-Type', PLAYLIST.type).send(playlist);
  });
}

/** @throws AppError request.malformed */
function queryToken(query: unknown): string | undefined {
  const { token } = query as Readonly<Record<string, unknown>>;
  if (token === undefined) return undefined;
  if (typeof token === 'string' && isToken(token)) return token;
  throw new AppError('request.malformed', 'token is not one token of letters, digits and -._~+/=.');
}

/** RFC 8216 section 4.1: a line that is neither empty nor begins with # is the address of a segment. */
function withToken(playlist: string, token: string): string {
  const query = `?token=${encodeURIComponent(token)}`;
  return playlist.replaceAll(/^[^#\r\n][^\r\n]*$/gm, (address) => `${address}${query}`);
}
