import { fileURLToPath } from 'node:url';
import fastifyStatic from '@fastify/static';
import type { FastifyInstance, FastifyReply } from 'fastify';
import { broadcastName } from '../broadcast/name.ts';

const PAGE_FOLDER = fileURLToPath(new URL('../../client-demo/', import.meta.url));
const ASSETS_FOLDER = fileURLToPath(new URL('../../client-demo/assets/', import.meta.url));
const CLIPS_FOLDER = fileURLToPath(new URL('../../testdata/clips/', import.meta.url));
const SAMPLE_CLIP = 'astronaut_320x180.mp4';

/**
 * Everything the page needs comes from here: no inline script or style, no other host. `'self'` in connect-src covers the
 * WebSocket of the same host (CSP level 3, section 6.7.2.8); blob: is for files that the person chose to publish.
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
  'X-Content-Type-Options': 'nosniff',
  'Cross-Origin-Opener-Policy': 'same-origin',
} as const;

/** The static page: `/` to publish and watch, `/watch/<name>` to watch only, `/sample.mp4` the built-in clip. */
export async function registerPage(app: FastifyInstance): Promise<void> {
  await app.register(fastifyStatic, {
    root: [PAGE_FOLDER, ASSETS_FOLDER, CLIPS_FOLDER],
    // Only the routes below serve files, each from one folder that it cannot leave.
    wildcard: false,
    serve: false,
    cacheControl: false,
  });

  const send = (reply: FastifyReply, file: string, root: string, cache: string) =>
    reply.headers({ ...SECURITY_HEADERS, 'Cache-Control': cache }).sendFile(file, root);
  // File names carry no hash, so a browser has to ask each time; the ETag makes that a 304 of no body.
  const revalidate = 'no-cache';

  app.get('/', (_request, reply) => send(reply, 'index.html', PAGE_FOLDER, revalidate));
  app.get<{ Params: { name: string } }>('/watch/:name', (request, reply) => {
    const known = broadcastName.safeParse(request.params.name).success;
    return send(reply.code(known ? 200 : 404), 'watch.html', PAGE_FOLDER, revalidate);
  });
  app.get('/sample.mp4', (_request, reply) => send(reply, SAMPLE_CLIP, CLIPS_FOLDER, 'public, max-age=86400'));
  app.get<{ Params: { '*': string } }>('/assets/*', (request, reply) =>
    send(reply, request.params['*'], ASSETS_FOLDER, revalidate),
  );
  app.get('/favicon.ico', (_request, reply) => reply.redirect('/assets/icon.svg', 301));
}
