import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { Access, Grant } from '../../access/access.ts';
import { AddressRates } from '../../access/limits.ts';
import { addressOf } from '../../access/local-peer.ts';
import { broadcastName } from '../../broadcast/name.ts';
import type { SessionService } from '../../broadcast/sessions.ts';
import type { Config } from '../../config/config.ts';
import { AppError, type ErrorCode } from '../../errors.ts';
import type { Log } from '../../log.ts';
import { sessionRefusalReason, type RefusalReason } from '../../metrics.ts';
import type { WatchedTracks } from '../../rtc/peers.ts';
import { toAppError } from '../errors.ts';
import { bearerOf } from '../../access/bearer.ts';
import { HttpAccess } from '../authorize.ts';
import { allowMethods, allowOrigin, isPreflight } from './cross-origin.ts';
import { iceServerLinks } from './link-header.ts';
import { sendProblem } from '../problem.ts';
import { HttpSessions, type Front } from './sessions.ts';

/** The longest offer at hand has 12 kB. */
const MAX_BODY_BYTES = 64 * 1024;
/** No name begins with an underscore (broadcast/name.ts). */
const SESSION_PATH = '_session';
const SDP = 'application/sdp';
const FRAGMENT = 'application/trickle-ice-sdpfrag';
const ENDPOINT_METHODS = ['POST', 'OPTIONS', 'GET', 'HEAD'] as const;
const SESSION_METHODS = ['PATCH', 'DELETE', 'OPTIONS', 'GET', 'HEAD'] as const;
/** Of a page or program that reads OPTIONS of the endpoint to learn whether sessions take PATCH. */
const ALL_METHODS = ['POST', 'PATCH', 'DELETE', 'OPTIONS', 'GET', 'HEAD'] as const;
/** Routed, so that the answer is 405 with Allow and not 404. */
const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'] as const;
/** Errors that another server may not have. */
const OVERFLOW: readonly ErrorCode[] = ['server.full', 'engine.full', 'server.draining'];

export interface WhipOptions {
  readonly sessions: SessionService;
  readonly access: Access;
  readonly config: Pick<Config, 'http' | 'limits'>;
  readonly log: Pick<Log, 'info' | 'error'>;
  readonly onRefused: (front: Front, why: RefusalReason) => void;
}

/**
 * WHIP (RFC 9725) at /whip/{name} and WHEP (draft-ietf-wish-whep) at /whep/{name}; sessions of both at
 * /{whip|whep}/_session/{id}. One code for both: they differ in who sends the media, in the 409 of a player that comes too
 * early, and in HEAD.
 */
export function registerWhip(app: FastifyInstance, options: WhipOptions): HttpSessions {
  const endpoints = new WhipEndpoints(options);
  app.register(async (scope) => {
    // Every type is read as text, within the bound; which one a method takes is checked there.
    scope.removeAllContentTypeParsers();
    scope.addContentTypeParser('*', { parseAs: 'string', bodyLimit: MAX_BODY_BYTES }, (_request, body, done) => {
      done(null, body);
    });
    scope.addHook('onRequest', async (request, reply) => endpoints.admit(request, reply));
    scope.setErrorHandler((thrown, request, reply) => endpoints.refuse(toAppError(thrown), request, reply));
    for (const front of ['whip', 'whep'] as const) {
      const route = { method: [...METHODS], exposeHeadRoute: false, bodyLimit: MAX_BODY_BYTES };
      scope.route<{ Params: { '*': string } }>({
        ...route,
        url: `/${front}/*`,
        handler: (request, reply) => endpoints.endpoint(front, request.params['*'], request, reply),
      });
      scope.route<{ Params: { id: string } }>({
        ...route,
        url: `/${front}/${SESSION_PATH}/:id`,
        handler: (request, reply) => endpoints.session(front, request.params.id, request, reply),
      });
    }
  });
  return endpoints.sessions;
}

class WhipEndpoints {
  readonly sessions: HttpSessions;
  readonly #options: WhipOptions;
  readonly #rates: AddressRates;
  readonly #access: HttpAccess;

  constructor(options: WhipOptions) {
    this.#options = options;
    this.sessions = new HttpSessions(options.sessions);
    this.#access = new HttpAccess(options.access, options.config.http);
    const perSecond = options.config.limits.maxWhipRequestsPerSecond;
    this.#rates = new AddressRates(perSecond, perSecond * 10);
  }

  /** Before the body is read. */
  admit(request: FastifyRequest, reply: FastifyReply): void {
    const { http, limits } = this.#options.config;
    allowOrigin(request, reply, http);
    if (this.#rates.take(this.#addressOf(request), performance.now())) return;
    throw new AppError(
      'request.tooMany',
      `More than ${limits.maxWhipRequestsPerSecond} requests a second of one address (limits.maxWhipRequestsPerSecond).`,
    );
  }

  refuse(error: AppError, { url }: FastifyRequest, reply: FastifyReply): FastifyReply {
    if (error.status >= 500 && error.status !== 503) {
      this.#options.log.error({ code: error.code, url: pathOf(url).split('?')[0], err: error }, 'http.error');
    }
    const why = sessionRefusalReason(error.code);
    if (why !== undefined) this.#options.onRefused(frontOf(url), why);
    return sendProblem(reply, error);
  }

  async endpoint(front: Front, path: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const name = nameOf(path);
    switch (request.method) {
      case 'POST':
        return this.#open(front, name, request, reply);
      case 'OPTIONS':
        return this.#describe(front, name, request, reply);
      case 'HEAD':
        // draft-ietf-wish-whep section 4.1: a player may ask whether this is an endpoint.
        return front === 'whep' ? reply.code(200).header('Content-Type', SDP).send() : reply.code(204).send();
      case 'GET':
        return reply.code(204).send();
      default:
        throw methodNotAllowed(reply, request.method, ENDPOINT_METHODS);
    }
  }

  async session(front: Front, id: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (isPreflight(request)) return allowMethods(reply, SESSION_METHODS).code(204).send();
    const bearer = bearerOf(request.headers.authorization);
    switch (request.method) {
      case 'PATCH':
        return this.#patch(front, id, bearer, request, reply);
      case 'DELETE':
        await this.sessions.end(front, id, bearer);
        return reply.code(200).send();
      case 'OPTIONS':
        this.sessions.check(front, id, bearer);
        return allowMethods(reply, SESSION_METHODS).header('Accept-Patch', FRAGMENT).code(204).send();
      case 'GET':
      case 'HEAD':
        this.sessions.check(front, id, bearer);
        return reply.code(204).send();
      default:
        throw methodNotAllowed(reply, request.method, SESSION_METHODS);
    }
  }

  async #open(front: Front, name: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { holder, owner, endsAtMs } = await this.#authorize(front, name, request);
    requireType(request, SDP);
    if (!accepts(request.headers.accept, SDP)) {
      throw new AppError('request.notAcceptable', `The answer is ${SDP}, which the Accept header leaves out.`);
    }
    const bearer = bearerOf(request.headers.authorization);
    const { tracks, waits } = front === 'whep' ? playerQuery(request.query) : { tracks: 'page' as const, waits: false };
    const offer = bodyOf(request);
    const remoteAddress = this.#addressOf(request);
    let opened;
    try {
      opened = await this.sessions.open({
        ...{ front, name, offer, bearer, tracks, waits, remoteAddress },
        ...{ holder, owner, endsAtMs },
      });
    } catch (thrown) {
      const elsewhere = this.#overflow(AppError.from(thrown), request.url);
      if (elsewhere === undefined) throw thrown;
      return reply.code(307).header('Location', elsewhere).header('Cache-Control', 'no-store').send();
    }
    const { id, answer, etag } = opened;
    if (reply.raw.destroyed || request.raw.socket.destroyed) {
      await this.sessions.abandon(id);
      return reply;
    }
    const userAgent = request.headers['user-agent']?.slice(0, 200);
    this.#options.log.info({ broadcast: name, front, userAgent }, 'whip.opened');
    const { publicUrl = '' } = this.#options.config.http;
    return this.#linked(reply)
      .code(201)
      .header('Location', `${publicUrl.replace(/\/$/, '')}/${front}/${SESSION_PATH}/${id}`)
      .header('ETag', etag)
      .header('Accept-Patch', FRAGMENT)
      .header('Cache-Control', 'no-store')
      .header('Content-Type', SDP)
      .send(answer);
  }

  async #patch(
    front: Front,
    id: string,
    bearer: string | undefined,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    this.sessions.check(front, id, bearer);
    requireType(request, FRAGMENT);
    const ifMatch = request.headers['if-match'];
    const restarted = await this.sessions.patch(front, id, { body: bodyOf(request), ifMatch, bearer });
    if (restarted === undefined) return reply.code(204).send();
    return reply.code(200).header('ETag', restarted.etag).header('Content-Type', FRAGMENT).send(restarted.fragment);
  }

  async #describe(front: Front, name: string, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    allowMethods(reply, ALL_METHODS);
    // RFC 9725 section 4.6: no servers in the answer to a preflight. Extensions would not pass MediaMTX.
    if (!isPreflight(request)) {
      // The servers' credentials are for those who may make a session.
      await this.#authorize(front, name, request);
      this.#linked(reply).header('Accept-Post', SDP);
    }
    return reply.code(204).send();
  }

  #authorize(front: Front, name: string, request: FastifyRequest): Promise<Grant> {
    return this.#access.authorize(request, front === 'whip' ? 'publish' : 'watch', name);
  }

  #linked(reply: FastifyReply): FastifyReply {
    const links = iceServerLinks(this.#options.sessions.welcome().iceServers);
    return links.length === 0 ? reply : reply.header('Link', links);
  }

  /** RFC 9725 section 4.5. @returns where else to ask, when the operator has named a place */
  #overflow({ code }: AppError, url: string): string | undefined {
    const { overflowUrl } = this.#options.config.http;
    if (overflowUrl === undefined || !OVERFLOW.includes(code)) return undefined;
    return overflowUrl.replace(/\/$/, '') + pathOf(url);
  }

  #addressOf(request: FastifyRequest): string {
    return addressOf(request.raw, this.#options.config.http.trustProxy);
  }
}

function methodNotAllowed(reply: FastifyReply, method: string, allowed: readonly string[]): AppError {
  reply.header('Allow', allowed.join(', '));
  return new AppError('request.method', `${method} is not among ${allowed.join(', ')}.`);
}

/** Of a URL that one of the routes took, in origin or absolute form (RFC 9112 section 3.2). */
function frontOf(url: string): Front {
  return pathOf(url).startsWith('/whep/') ? 'whep' : 'whip';
}

/** Path and query. */
function pathOf(url: string): string {
  return url.replace(/^https?:\/\/[^/]*/i, '');
}

/** @throws AppError request.malformed */
function nameOf(path: string): string {
  const parsed = broadcastName.safeParse(path);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0]?.message ?? 'not a name';
  throw new AppError('request.malformed', `"${path.slice(0, 140)}" is no name of a broadcast: ${issue}.`, {
    remedy: 'Use /whip/NAME to publish and /whep/NAME to watch.',
  });
}

/** @throws AppError request.mediaType */
function requireType({ headers }: FastifyRequest, type: string): void {
  const given = headers['content-type']?.split(';')[0]?.trim().toLowerCase();
  if (given === type) return;
  throw new AppError(
    'request.mediaType',
    given === undefined ? `The request has no Content-Type; it must be ${type}.` : `The body must be ${type}.`,
  );
}

/** RFC 9110 section 12.5.1; a weight of zero refuses. */
function accepts(header: string | undefined, type: string): boolean {
  if (header === undefined) return true;
  const [group = ''] = type.split('/');
  return header
    .slice(0, 1024)
    .split(',')
    .some((entry) => {
      const [range = '', ...parameters] = entry.split(';').map((part) => part.trim().toLowerCase());
      const refused = parameters.some((parameter) => /^q=0(\.0{0,3})?$/.test(parameter));
      return !refused && ['*/*', `${group}/*`, type].includes(range);
    });
}

/** @throws AppError sdp.invalid */
function bodyOf({ body }: FastifyRequest): string {
  if (typeof body === 'string' && body.trim() !== '') return body;
  throw new AppError('sdp.invalid', 'The request has no body.');
}

/** `track=source`: the original; `wait=1`: a session also before the broadcast is live. @throws AppError request.malformed */
function playerQuery(query: unknown): { readonly tracks: WatchedTracks; readonly waits: boolean } {
  const { track = 'result', wait = '0' } = query as Readonly<Record<string, unknown>>;
  if (track !== 'result' && track !== 'source') {
    throw new AppError('request.malformed', 'track is "result" or "source".');
  }
  if (wait !== '0' && wait !== '1') throw new AppError('request.malformed', 'wait is "0" or "1".');
  return { tracks: track === 'source' ? 'source' : 'page', waits: wait === '1' };
}
