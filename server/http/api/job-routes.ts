import type { Readable } from 'node:stream';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import { JOB_RESULTS } from '../../jobs/job.ts';
import { AppError } from '../../errors.ts';
import { sendDiskFile } from '../disk-files.ts';
import * as answers from './answers.ts';
import { route, type ApiRoute } from './route.ts';
import type { ApiJobs } from './services.ts';

const one = z.strictObject({ id: z.string().regex(/^[0-9a-f]{24}$/, 'is no id of a job') });

const asked = z.strictObject({
  name: z.string().min(1).max(120).default('film').describe('of the file, for people and for the name of the result'),
  result: z.enum(JOB_RESULTS).default('mp4').describe('what the result is: a film, or a picture'),
  scale: z.coerce
    .number()
    .min(1)
    .max(8)
    .default(4)
    .describe('size of the result / size of the file, for models that do not fix it'),
});

const TYPES = ['application/octet-stream', 'video/*', 'image/*'] as const;

const RESULT_TYPES: Readonly<Record<string, string>> = {
  mp4: 'video/mp4',
  mkv: 'video/x-matroska',
  webm: 'video/webm',
  mov: 'video/quicktime',
  png: 'image/png',
  jpg: 'image/jpeg',
  webp: 'image/webp',
};

export interface JobRouteOptions {
  readonly jobs: ApiJobs;
  /** The request's body, and its answer, may take as long as `jobs.uploadSeconds`. */
  readonly mayLast: (request: FastifyRequest) => void;
}

/** Files that are upscaled beside the live streams. */
export function jobRoutes({ jobs, mayLast }: JobRouteOptions): ApiRoute[] {
  return [
    route({
      id: 'listJobs',
      method: 'GET',
      url: '/api/jobs',
      summary: 'All jobs, the oldest first',
      answer: answers.jobs,
      errors: [],
      handle: async () => ({ jobs: jobs.list() }),
    }),
    route({
      id: 'addJob',
      method: 'POST',
      url: '/api/jobs',
      summary: 'Send a file to be upscaled; the body is the file',
      description:
        'One job runs at a time, with the least priority: live streams come first. Ask for the job until it is done.',
      query: asked,
      rawBody: TYPES,
      answer: answers.job,
      status: 202,
      errors: ['request.mediaType', 'request.tooLarge', 'job.full', 'job.disk', 'file.unwritable', 'server.draining'],
      handle: async ({ query, request, reply }) => {
        // What is left of a file that is refused is not waited for.
        reply.header('Connection', 'close');
        requireFile(request);
        mayLast(request);
        const length = Number(request.headers['content-length'] ?? Number.NaN);
        const added = await jobs.add(query, request.body as Readable, Number.isFinite(length) ? length : undefined);
        reply.removeHeader('Connection');
        reply.header('Location', `/api/jobs/${added.id}`);
        return added;
      },
    }),
    route({
      id: 'getJob',
      method: 'GET',
      url: '/api/jobs/:id',
      summary: 'One job: its state, its place in the queue, how far it is',
      params: one,
      answer: answers.job,
      errors: ['job.unknown'],
      handle: async ({ params }) => jobs.status(params.id),
    }),
    route({
      id: 'getJobResult',
      method: 'GET',
      url: '/api/jobs/:id/result',
      summary: 'The result of a job that is done, whole or a range of it',
      params: one,
      rawAnswer: 'application/octet-stream',
      errors: ['job.unknown', 'request.state', 'request.range'],
      handle: async ({ params, request, reply }) => {
        const { path, saveAs, ending } = jobs.resultOf(params.id);
        mayLast(request);
        reply.header('Cross-Origin-Resource-Policy', 'same-origin');
        const type = RESULT_TYPES[ending] ?? 'application/octet-stream';
        await sendDiskFile(request, reply, { path, type, cache: 'no-store', saveAs });
        return undefined;
      },
    }),
    route({
      id: 'removeJob',
      method: 'DELETE',
      url: '/api/jobs/:id',
      summary: 'End a job and delete its files',
      params: one,
      errors: ['job.unknown'],
      handle: async ({ params }) => jobs.remove(params.id),
    }),
  ];
}

/** @throws AppError request.mediaType */
function requireFile({ headers }: FastifyRequest): void {
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === TYPES[0] || /^(video|image)\/[\w.+-]+$/.test(type)) return;
  throw new AppError('request.mediaType', `The body is the file itself, of type ${TYPES.join(', ')}.`, {
    remedy: 'Send it by `curl --data-binary @FILE -H "Content-Type: application/octet-stream"`.',
  });
}
