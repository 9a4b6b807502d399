import { z } from 'zod';
import { broadcastName } from '../../broadcast/name.ts';
import { sections } from '../../config/config.ts';
import { AppError } from '../../errors.ts';
import * as answers from './answers.ts';
import { route, type ApiRoute } from './route.ts';
import type { ApiBroadcast, ApiServices } from './services.ts';

const named = z.strictObject({ name: broadcastName });
const ofOne = z.strictObject({ broadcast: broadcastName.optional() });

const { media, broadcast } = sections;
/** Bounds and descriptions are the configuration's; no default: what is left out stays. */
const change = z
  .strictObject({
    minBitrateBps: withoutDefault(media.shape.minBitrateBps),
    startBitrateBps: withoutDefault(media.shape.startBitrateBps),
    maxBitrateBps: withoutDefault(media.shape.maxBitrateBps),
    lowBitrateBps: withoutDefault(media.shape.lowBitrateBps),
    audioDelayMs: withoutDefault(media.shape.audioDelayMs),
    keyframeIntervalSeconds: withoutDefault(media.shape.keyframeIntervalSeconds),
    ladder: withoutDefault(media.shape.ladder),
    resumeSeconds: withoutDefault(broadcast.shape.resumeSeconds),
    pauseAfterMs: withoutDefault(broadcast.shape.pauseAfterMs),
  })
  .refine((given) => Object.keys(given).length > 0, 'names no setting');

function withoutDefault<Inner extends z.ZodType>(schema: z.ZodDefault<Inner>): z.ZodExactOptional<Inner> {
  const inner = schema.unwrap();
  return z.exactOptional(schema.description === undefined ? inner : inner.describe(schema.description));
}

/** Broadcasts, their viewers, and what can be changed of one while it runs. */
export function broadcastRoutes({ broadcasts, server }: Pick<ApiServices, 'broadcasts' | 'server'>): ApiRoute[] {
  const find = (name: string): ApiBroadcast => {
    const found = broadcasts.get(name);
    if (found === undefined) throw new AppError('request.notFound', `There is no broadcast "${name}".`);
    return found;
  };
  return [
    route({
      id: 'listBroadcasts',
      method: 'GET',
      url: '/api/admin/broadcasts',
      summary: 'All broadcasts with their statistics, settings and viewers',
      answer: answers.broadcasts,
      errors: [],
      handle: async () => {
        const { broadcasts: used, capacity: total } = server.status();
        return { broadcasts: broadcasts.details(), capacity: { used, total } };
      },
    }),
    route({
      id: 'getBroadcast',
      method: 'GET',
      url: '/api/admin/broadcasts/:name',
      summary: 'One broadcast',
      description: 'The slash of `room/participant` is written `%2F`.',
      params: named,
      answer: answers.broadcast,
      errors: ['request.notFound'],
      handle: async ({ params }) => find(params.name).detail(),
    }),
    route({
      id: 'changeBroadcast',
      method: 'PATCH',
      url: '/api/admin/broadcasts/:name',
      summary: 'Change settings of one broadcast while it runs',
      description: 'What is left out stays as it is. The settings last as long as the broadcast.',
      params: named,
      body: change,
      answer: answers.settings,
      errors: ['request.notFound'],
      handle: async ({ params, body }) => {
        const found = find(params.name);
        try {
          found.changeSettings(body);
        } catch (thrown) {
          // The caller's mistake, not one of the server's configuration.
          const { message } = AppError.from(thrown);
          throw new AppError('request.malformed', message, { cause: thrown });
        }
        return found.detail().settings;
      },
    }),
    route({
      id: 'listViewers',
      method: 'GET',
      url: '/api/admin/viewers',
      summary: 'All viewers, or those of one broadcast',
      query: ofOne,
      answer: answers.viewers,
      errors: [],
      handle: async ({ query }) => {
        const asked = broadcasts
          .details()
          .filter(({ name }) => query.broadcast === undefined || name === query.broadcast);
        return {
          viewers: asked.flatMap(({ name, sessions }) => sessions.map((each) => ({ broadcast: name, ...each }))),
        };
      },
    }),
  ];
}
