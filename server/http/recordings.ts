import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError } from '../errors.ts';
import type { HttpAccess } from './authorize.ts';
import { sendDiskFile } from './disk-files.ts';

/** One file of a recording. */
export interface RecordingEntry {
  readonly file: string;
  /** Where it is downloaded. */
  readonly url: string;
  readonly output: string;
  readonly broadcast: string;
  readonly track: 'result' | 'source';
  readonly container: 'mp4' | 'webm';
  readonly startedAt: string;
  readonly bytes: number;
  /** It is still being written. */
  readonly open: boolean;
}

/** What the endpoints need of the recordings (egress/recording-library.ts). */
export interface RecordingFiles {
  /** Newest first. */
  list(): Promise<readonly RecordingEntry[]>;
  /** By the name alone, whether there is such a file or not. @returns undefined for names of no recording */
  broadcastOf(file: string): string | undefined;
  /** @returns its path; undefined for names of no recording */
  find(file: string): Promise<string | undefined>;
}

/** A request's answer may take this long; what is not asked for here ends after 45 s (http/connections.ts). */
export type MayLast = (request: FastifyRequest, ms: number) => void;

/** The operator's browser is on this machine: a page of another site that is open there may not embed them. */
const OWN_PAGES_ONLY = { 'Cross-Origin-Resource-Policy': 'same-origin' } as const;
const TYPES = { mp4: 'video/mp4', webm: 'video/webm' } as const;

/**
 * `GET /recordings` lists those that the client may play, `GET /recordings/FILE` downloads one. The right is asked for before a file
 * is looked for, so that a refusal does not say what there is.
 */
export function registerRecordings(
  app: FastifyInstance,
  access: HttpAccess,
  recordings: RecordingFiles,
  mayLast: MayLast = () => undefined,
): void {
  app.get('/recordings', async (request, reply) => {
    const permitted = await access.permitted(request, 'playback');
    const list = (await recordings.list()).filter(({ broadcast }) => permitted(broadcast));
    return reply.headers({ ...OWN_PAGES_ONLY, 'Cache-Control': 'no-store' }).send({ recordings: list });
  });
  // The longest name (room, participant and output) is longer than a `:file` may be (maxParamLength); one with a slash is none.
  app.get<{ Params: { '*': string } }>('/recordings/*', async (request, reply) => {
    const { '*': file } = request.params;
    await access.authorize(request, 'playback', recordings.broadcastOf(file));
    const path = await recordings.find(file);
    if (path === undefined) throw new AppError('request.notFound', `There is no recording ${file.slice(0, 200)}.`);
    const type = file.endsWith('.webm') ? TYPES.webm : TYPES.mp4;
    return sendDiskFile(request, reply.headers(OWN_PAGES_ONLY), {
      ...{ path, type, cache: 'no-cache', saveAs: file },
      mayLast: (ms) => mayLast(request, ms),
    });
  });
}
