import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { isLoopbackHost } from '../../access/address.ts';
import type { Access } from '../../access/access.ts';
import { checkOrigin } from '../../access/origin.ts';
import type { Config } from '../../config/config.ts';
import type { Log } from '../../log.ts';
import { refusalReason, type RefusalReason, type Refused } from '../../metrics.ts';
import { VERSION } from '../../version.ts';
import { HttpAccess } from '../authorize.ts';
import { toAppError } from '../errors.ts';
import { sendOperatorProblem, sendProblem } from '../problem.ts';
import { answerStatic, staticFile } from '../static-files.ts';
import { broadcastRoutes } from './broadcast-routes.ts';
import { jobRoutes } from './job-routes.ts';
import { openApiDocument } from './openapi.ts';
import { outputRoutes } from './output-routes.ts';
import { parsed, type ApiRoute } from './route.ts';
import { serverRoutes } from './server-routes.ts';
import type { ApiServices } from './services.ts';
import { sourceRoutes } from './source-routes.ts';

export interface ApiOptions {
  readonly services: ApiServices;
  readonly access: Access;
  readonly http: Config['http'];
  /** `api.folder`, or what stands for it. */
  readonly folder: string;
  readonly log: Pick<Log, 'error'>;
  readonly onRefused?: (what: Refused, why: RefusalReason) => void;
  /** A request that may take as long as `jobs.uploadSeconds`. */
  readonly mayLast?: (request: FastifyRequest) => void;
}

/** All routes below /api, in the order of the document. */
export function apiRoutes(
  services: ApiServices,
  { folder, mayLast = () => undefined }: Pick<ApiOptions, 'folder' | 'mayLast'>,
): ApiRoute[] {
  const { jobs } = services;
  return [
    ...serverRoutes(services),
    ...broadcastRoutes(services),
    ...outputRoutes({ ...services, folder }),
    ...sourceRoutes(services),
    ...(jobs === undefined ? [] : jobRoutes({ jobs, mayLast })),
  ];
}

/** What operators and their programs change while the server runs; every route asks for the admin right. */
export function registerApi(app: FastifyInstance, options: ApiOptions): void {
  const { services, access, http, log, onRefused = () => undefined } = options;
  const rights = new HttpAccess(access, http);
  const routes = apiRoutes(services, options);
  const document = staticFile(Buffer.from(JSON.stringify(openApiDocument(routes, VERSION))), 'application/json');

  app.register(async (scope) => {
    const permitted = new WeakSet<FastifyRequest>();
    scope.setErrorHandler((thrown, request, reply) => {
      const error = toAppError(thrown);
      const url = request.url.split('?')[0];
      if (error.status >= 500 && error.status !== 503) log.error({ code: error.code, url, err: error }, 'http.error');
      const why = refusalReason(error.code);
      if (why !== undefined) onRefused('request', why);
      // Whoever operates the server may read what only the log has for others.
      return permitted.has(request) ? sendOperatorProblem(reply, error) : sendProblem(reply, error);
    });
    scope.addHook('onRequest', async ({ headers: { origin, host } }) => {
      // Programs of this machine need no credential, and a page of another site can make its browser one of them.
      const { allowedOrigins } = http;
      checkOrigin({ origin, host }, { allowedOrigins, loopbackOnly: isLoopbackHost(http.host) });
    });
    scope.get('/api/openapi.json', (request, reply) => sendDocument(request, reply));
    scope.register(async (admin) => {
      // Before the body is read.
      admin.addHook('onRequest', async (request) => {
        await rights.authorize(request, 'admin');
        permitted.add(request);
      });
      for (const each of routes) {
        if (each.rawBody === undefined) serve(admin, each);
      }
      admin.register(async (raw) => {
        // The body is left on its way: the handler reads it.
        raw.removeAllContentTypeParsers();
        raw.addContentTypeParser('*', (_request, body, done) => done(null, body));
        for (const each of routes) {
          if (each.rawBody !== undefined) serve(raw, each);
        }
      });
    });
  });

  function sendDocument(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const sent = answerStatic(document, { 'if-none-match': request.headers['if-none-match'] });
    reply
      .code(sent.status)
      .headers({ 'Cache-Control': 'no-cache', ETag: document.etag, 'Content-Type': document.type });
    return sent.status === 200 ? reply.send(sent.body) : reply.send();
  }
}

function serve(app: FastifyInstance, each: ApiRoute): void {
  app.route({ method: each.method, url: each.url, handler: (request, reply) => answer(each, request, reply) });
}

async function answer(each: ApiRoute, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const result = await each.handle({
    params: each.params && parsed(each.params, request.params, 'The address'),
    query: each.query && parsed(each.query, request.query, 'The query'),
    body: each.body && parsed(each.body, request.body ?? undefined, 'The body'),
    request,
    reply,
  });
  if (reply.sent) return reply;
  reply.header('Cache-Control', 'no-store').code(each.status ?? (each.answer === undefined ? 204 : 200));
  return result === undefined ? reply.send() : reply.send(result);
}
