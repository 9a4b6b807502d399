import { z } from 'zod';
import { broadcastName } from '../../broadcast/name.ts';
import { requestedSource } from '../../config/config.ts';
import { AppError } from '../../errors.ts';
import * as answers from './answers.ts';
import { route, type ApiRoute } from './route.ts';
import type { ApiServices } from './services.ts';
import { requireSameName } from './same-name.ts';

const named = z.strictObject({ name: broadcastName });

/** Streams that the server fetches itself: those of the configuration and those that are made here. */
export function sourceRoutes({ sources, checkTarget }: Pick<ApiServices, 'sources' | 'checkTarget'>): ApiRoute[] {
  const statusOf = (name: string) => {
    const found = sources.list().find((each) => each.name === name);
    if (found === undefined) throw new AppError('request.notFound', `There is no source "${name}".`);
    return found;
  };
  const start = (config: z.output<typeof requestedSource>) => {
    sources.start(config);
    return statusOf(config.name);
  };
  return [
    route({
      id: 'listSources',
      method: 'GET',
      url: '/api/admin/sources',
      summary: 'All pull sources: their state, statistics and last error',
      answer: answers.sources,
      errors: [],
      handle: async () => ({ sources: sources.list() }),
    }),
    route({
      id: 'startSource',
      method: 'POST',
      url: '/api/admin/sources',
      summary: 'Pull a stream; it becomes the broadcast of this name',
      description:
        'An entry of `sources` of the configuration; no files. It is tried again until it is removed, or the process ends.',
      body: requestedSource,
      answer: answers.source,
      status: 201,
      errors: ['broadcast.nameTaken', 'server.draining', 'target.refused'],
      handle: async ({ body }) => {
        await checkTarget(body.url);
        return start(body);
      },
    }),
    route({
      id: 'replaceSource',
      method: 'PUT',
      url: '/api/admin/sources/:name',
      summary: 'Change a source: the one of this name ends, and is pulled again',
      params: named,
      body: requestedSource,
      answer: answers.source,
      errors: ['request.notFound', 'broadcast.nameTaken', 'server.draining', 'target.refused'],
      handle: async ({ params, body }) => {
        requireSameName(body, params);
        statusOf(params.name);
        await checkTarget(body.url);
        await sources.stop(params.name);
        return start(body);
      },
    }),
    route({
      id: 'stopSource',
      method: 'DELETE',
      url: '/api/admin/sources/:name',
      summary: 'End a source; the name is free when the answer comes',
      params: named,
      errors: ['request.notFound'],
      handle: async ({ params }) => sources.stop(params.name),
    }),
  ];
}
