import type { FastifyInstance, FastifyRequest } from 'fastify';
import { isLocalRequest } from '../access/local-peer.ts';
import { AppError } from '../errors.ts';
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
  /** @returns its path; undefined for names of no recording */
  find(file: string): Promise<string | undefined>;
}

/** The operator's browser is on this machine: a page of another site that is open there may not embed them. */
const OWN_PAGES_ONLY = { 'Cross-Origin-Resource-Policy': 'same-origin' } as const;
const TYPES = { mp4: 'video/mp4', webm: 'video/webm' } as const;

/** `GET /recordings` lists them, `GET /recordings/FILE` downloads one. For programs and browsers on this machine alone. */
export function registerRecordings(app: FastifyInstance, recordings: RecordingFiles): void {
  app.get('/recordings', async (request, reply) => {
    refuseOthers(request);
    return reply
      .headers({ ...OWN_PAGES_ONLY, 'Cache-Control': 'no-store' })
      .send({ recordings: await recordings.list() });
  });
  // The longest name (room, participant and output) is longer than a `:file` may be (maxParamLength); one with a slash is none.
  app.get<{ Params: { '*': string } }>('/recordings/*', async (request, reply) => {
    refuseOthers(request);
    const { '*': file } = request.params;
    const path = await recordings.find(file);
    if (path === undefined) throw new AppError('request.notFound', `There is no recording ${file.slice(0, 200)}.`);
    const type = file.endsWith('.webm') ? TYPES.webm : TYPES.mp4;
    return sendDiskFile(request, reply.headers(OWN_PAGES_ONLY), { path, type, cache: 'no-cache', saveAs: file });
  });
}

function refuseOthers({ raw }: FastifyRequest): void {
  if (isLocalRequest(raw)) return;
  throw new AppError('request.forbidden', 'Recordings are open to programs on the server itself only.', {
    remedy: 'Open the page or `curl http://localhost:PORT/recordings` there, or copy the files from their folder.',
  });
}
