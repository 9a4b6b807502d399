import { fileURLToPath } from 'node:url';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { TrustProxy } from '../access/client-address.ts';
import { broadcastName } from '../broadcast/name.ts';
import type { Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { sendError } from './errors.ts';
import { withLinkPreview, type LinkPreview } from './link-preview.ts';
import { embedHeaders, PAGE_HEADERS } from './page-headers.ts';
import { answerStatic, readStaticFile, readStaticFolder, staticFile, type StaticFile } from './static-files.ts';

const PAGE_FOLDER = fileURLToPath(new URL('../../client-demo/', import.meta.url));
const SAMPLE_CLIP = fileURLToPath(new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url));

/** File names carry no hash, so a browser has to ask each time; the ETag makes that a 304 of no body. */
const REVALIDATE = 'no-cache';

/**
 * The static page: `/` to publish and watch, `/admin` to operate, `/watch/<name>` to watch only, with `?embed=1` as a player for frames and browser
 * sources, `/sample.mp4` the built-in clip. All of it is a few hundred kilobytes and lies in memory: an answer that a client
 * leaves unread or cuts holds no descriptor.
 */
export function registerPage(
  app: FastifyInstance,
  http: Pick<Config['http'], 'trustProxy' | 'allowedOrigins' | 'embedOrigins'>,
): void {
  const { trustProxy } = http;
  const index = readStaticFile(`${PAGE_FOLDER}index.html`);
  const watch = readStaticFile(`${PAGE_FOLDER}watch.html`);
  const embed = readStaticFile(`${PAGE_FOLDER}embed.html`);
  const admin = readStaticFile(`${PAGE_FOLDER}admin.html`);
  const sample = readStaticFile(SAMPLE_CLIP);
  const assets = readStaticFolder(`${PAGE_FOLDER}assets`);
  const html = (
    file: StaticFile,
    request: FastifyRequest,
    preview: Pick<LinkPreview, 'title' | 'path'>,
  ): StaticFile => {
    const { host } = request.headers;
    const description = 'Look sharp on a slow connection: a small video goes up, the server rebuilds it in HD.';
    const tags = { ...preview, description, host, scheme: schemeOf(request, trustProxy) };
    return staticFile(Buffer.from(withLinkPreview(file.body.toString(), tags)), file.type);
  };

  app.get('/', (request, reply) =>
    send(request, reply, html(index, request, { title: 'FlashVSR Live', path: '/' }), REVALIDATE),
  );
  // What it shows and does asks for the admin right (api/).
  app.get('/admin', (request, reply) => send(request, reply, admin, REVALIDATE));
  app.get<{ Params: { '*': string } }>('/watch/*', (request, reply) => {
    const name = broadcastName.safeParse(request.params['*']);
    if (!name.success) {
      reply.callNotFound();
      return reply;
    }
    if (isEmbed(request.query)) return send(request, reply, embed, REVALIDATE, embedHeaders(http));
    const title = `Watch ${name.data} on FlashVSR Live`;
    return send(request, reply, html(watch, request, { title, path: `/watch/${name.data}` }), REVALIDATE);
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

const EMBED_QUERY = { embed: ['0', '1'], sound: ['0', '1'], fit: ['contain', 'pixel'] } as const;

/**
 * Other parameters pass: links get them from mail programs and networks.
 * @throws AppError request.malformed
 */
function isEmbed(query: unknown): boolean {
  const given = query as Readonly<Record<string, unknown>>;
  for (const [key, values] of Object.entries(EMBED_QUERY)) {
    const value = given[key];
    if (value === undefined || (values as readonly unknown[]).includes(value)) continue;
    throw new AppError('request.malformed', `${key} is ${values.map((each) => `"${each}"`).join(' or ')}.`, {
      remedy: 'Use /watch/NAME?embed=1, with &fit=pixel and &sound=1 if wanted.',
    });
  }
  return given['embed'] === '1';
}

/** X-Forwarded-Proto counts only where the operator trusts the proxy in front. */
function schemeOf({ protocol, headers }: FastifyRequest, trustProxy: TrustProxy): 'http' | 'https' {
  const forwarded = trustProxy === false ? undefined : headers['x-forwarded-proto'];
  return protocol === 'https' || forwarded === 'https' ? 'https' : 'http';
}

function headersOf(
  { type, etag }: StaticFile,
  cache: string,
  headers: Readonly<Record<string, string>>,
): Record<string, string> {
  return { ...headers, 'Content-Type': type, 'Cache-Control': cache, ETag: etag, 'Accept-Ranges': 'bytes' };
}

function send(
  request: FastifyRequest,
  reply: FastifyReply,
  file: StaticFile,
  cache: string,
  headers: Readonly<Record<string, string>> = PAGE_HEADERS,
): FastifyReply {
  const answer = answerStatic(file, request.headers);
  if (answer.status === 416) {
    reply.header('Content-Range', answer.contentRange);
    return sendError(reply, new AppError('request.range', `The file has ${file.body.length} bytes.`));
  }
  reply.code(answer.status).headers(headersOf(file, cache, headers));
  if (answer.status === 304) return reply.send();
  if (answer.status === 206) reply.header('Content-Range', answer.contentRange);
  return reply.send(answer.body);
}
