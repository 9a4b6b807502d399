import type { FastifyInstance } from 'fastify';
import { isLocalRequest } from '../access/local-peer.ts';
import { broadcastName } from '../broadcast/name.ts';
import { AppError } from '../errors.ts';
import { sendDiskFile } from './disk-files.ts';

/** What the endpoint needs of the HLS outputs (egress/hls-files.ts). */
export interface HlsFolders {
  /** @returns a file's path; undefined for what no output writes */
  find(output: string, broadcast: string, file: string): string | undefined;
}

const PLAYLIST = { type: 'application/vnd.apple.mpegurl', cache: 'no-cache' } as const;
/** Its bytes never change, and its number never comes back. */
const SEGMENT = { type: 'video/mp2t', cache: 'private, max-age=60' } as const;

/** `GET /hls/OUTPUT/BROADCAST/index.m3u8` and the segments beside it, for players on this machine alone. */
export function registerHls(app: FastifyInstance, folders: HlsFolders): void {
  app.get<{ Params: { output: string; '*': string } }>('/hls/:output/*', async (request, reply) => {
    if (!isLocalRequest(request.raw)) {
      throw new AppError('request.forbidden', 'HLS is open to players on the server itself only.', {
        remedy: 'Play it there, or let a web server of yours offer the folder of the output.',
      });
    }
    const { output, '*': rest } = request.params;
    const slash = rest.lastIndexOf('/');
    const [broadcast, file] = [broadcastName.safeParse(rest.slice(0, Math.max(0, slash))), rest.slice(slash + 1)];
    const path = broadcast.success ? folders.find(output, broadcast.data, file) : undefined;
    if (path === undefined) throw new AppError('request.notFound', 'No HLS output writes that.');
    return sendDiskFile(request, reply, { path, ...(file.endsWith('.m3u8') ? PLAYLIST : SEGMENT) });
  });
}
