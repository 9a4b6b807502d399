import { fileURLToPath } from 'node:url';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { broadcastName } from '../broadcast/name.ts';
import { AppError } from '../errors.ts';
import { sendError } from './errors.ts';
import { answerStatic, readStaticFile, readStaticFolder, type StaticFile } from './static-files.ts';

const PAGE_FOLDER = fileURLToPath(new URL('../../client-demo/', import.meta.url));
const SAMPLE_CLIP = fileURLToPath(new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url));

/**
 * Everything the page needs comes from here: no inline script or style, no other host. `'self'` in connect-src covers the
 * WebSocket of the same host (CSP level 3, section 6.7.2.8); blob: is for files that the user chose to publish.
 */
const CONTENT_SECURITY_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "media-src 'self' blob: mediastream:",
  "connect-src 'self'",
  "manifest-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'self'",
].join('; ');

const SECURITY_HEADERS = {
  'Content-Security-Policy': CONTENT_SECURITY_POLICY,
  'Permissions-Policy': 'camera=(self), microphone=(self), display-capture=(self)',
  'Referrer-Policy': 'same-origin',
  'Cross-Origin-Opener-Policy': 'same-origin',
} as const;

/** File names carry no hash, so a browser has to ask each time; the ETag makes that a 304 of no body. */
const REVALIDATE = 'no-cache';

/**
 * The static page: `/` to publish and watch, `/watch/<name>` to watch only, `/sample.mp4` the built-in clip. All of it is a
 * few hundred kilobytes and lies in memory: an answer that a client leaves unread or cuts holds no descriptor.
 */
export function registerPage(app: FastifyInstance): void {
  const index = readStaticFile(`${PAGE_FOLDER}index.html`);
  const watch = readStaticFile(`${PAGE_FOLDER}watch.html`);
  const sample = readStaticFile(SAMPLE_CLIP);
  const assets = readStaticFolder(`${PAGE_FOLDER}assets`);

  app.get('/', (request, reply) => send(request, reply, index, REVALIDATE));
  app.get<{ Params: { '*': string } }>('/watch/*', (request, reply) => {
    if (broadcastName.safeParse(request.params['*']).success) return send(request, reply, watch, REVALIDATE);
    return reply.code(404).headers(headersOf(watch, REVALIDATE)).send(watch.body);
  });
  app.get('/sample.mp4', (request, reply) => send(request, reply, sample, 'public, max-age=86400'));
  app.get<{ Params: { '*': string } }>('/assets/*', (request, reply) => {
    const file = assets.get(request.params['*']);
    if (file === undefined) {
      reply.callNotFound();
      return reply;
    }
    return send(request, reply, file, REVALIDATE);
  });
  app.get('/favicon.ico', (_request, reply) => reply.redirect('/assets/icon.svg', 301));
}

function headersOf({ type, etag }: StaticFile, cache: string): Record<string, string> {
  return { ...SECURITY_HEADERS, 'Content-Type': type, 'Cache-Control': cache, ETag: etag, 'Accept-Ranges': 'bytes' };
}

function send(request: FastifyRequest, reply: FastifyReply, file: StaticFile, cache: string): FastifyReply {
  const answer = answerStatic(file, request.headers);
  if (answer.status === 416) {
    reply.header('Content-Range', answer.contentRange);
    return sendError(reply, new AppError('request.range', `The file has ${file.body.length} bytes.`));
  }
  reply.code(answer.status).headers(headersOf(file, cache));
  if (answer.status === 304) return reply.send();
  if (answer.status === 206) reply.header('Content-Range', answer.contentRange);
  return reply.send(answer.body);
}
