import fastify, { type FastifyInstance, type InjectOptions } from 'fastify';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { accessFor } from '../../../testing/access-for.ts';
import { FakeSessions, someStats } from '../../../testing/signaling/fake-sessions.ts';
import type { Access } from '../../access/access.ts';
import { makeToken, tokenHash } from '../../access/static-tokens.ts';
import { changed, broadcastSettings, type BroadcastSettings } from '../../broadcast/settings.ts';
import type { BroadcastDetail } from '../../broadcast/detail.ts';
import { configSchema, type OutputConfig, type SourceConfig } from '../../config/config.ts';
import { AppError } from '../../errors.ts';
import { broadcast, output } from '../api/answers.ts';
import { apiRoutes, registerApi } from '../api/register.ts';
import type { ApiServices } from '../api/services.ts';

const config = configSchema.parse({});

const unknownJob = (): never => {
  throw new AppError('job.unknown', 'There is no such job (any more).');
};

/** A broadcast, an output and a source that do as they are asked, and remember it. */
class Services implements ApiServices {
  readonly asked: unknown[] = [];
  readonly outputList: OutputConfig[] = [];
  readonly sourceList: SourceConfig[] = [];
  readonly sessions: FakeSessions;
  readonly access: Access;
  settings: BroadcastSettings = broadcastSettings(config);

  constructor(sessions: FakeSessions, access: Access) {
    this.sessions = sessions;
    this.access = access;
  }

  readonly server: ApiServices['server'] = {
    status: () => ({
      ...{ version: '0.0.0', node: 'v20', uptimeSeconds: 1, residentBytes: 1, cores: 2, processorLoad: 0.5 },
      ...{ draining: false, accessMode: 'tokens', engines: [], errors: [], model: this.sessions.welcome().model },
      ...{ broadcasts: 1, capacity: 2, viewers: 1, bitrateInBps: 1, bitrateOutBps: 1 },
    }),
    drain: (withinSeconds) => {
      this.asked.push({ withinSeconds });
      return 3;
    },
    reloadTokens: async () => {
      throw new AppError('access.reload', 'The tokens cannot be read again. Missing comma.');
    },
  };
  readonly broadcasts = {
    details: () => [this.#detail()],
    get: (name: string) =>
      name === 'room/anna'
        ? {
            detail: () => this.#detail(),
            changeSettings: (change: Partial<BroadcastSettings>) => {
              this.settings = changed(this.settings, change);
            },
          }
        : undefined,
  };
  readonly outputs: ApiServices['outputs'] = {
    list: () =>
      this.outputList.map(({ name, type, broadcast: of, track }) => {
        return { name, type, broadcast: of, track, state: 'waiting', runs: [] };
      }),
    start: (output) => void this.outputList.push(output),
    stop: async (name) => void this.asked.push({ stop: name }),
    remove: async (name) => {
      if (name !== 'known') throw new AppError('output.unknown', `There is no output "${name}".`);
    },
  };
  readonly sources: ApiServices['sources'] = {
    list: () =>
      this.sourceList.map(({ name }) => {
        return { name, target: 'srt://x', state: 'connecting', connections: 0, failuresInARow: 0, retryInMs: 0 };
      }),
    start: (source) => void this.sourceList.push(source),
    stop: async (name) => void this.asked.push({ stop: name }),
  };
  readonly jobs: ApiServices['jobs'] = {
    add: unknownJob,
    list: () => [],
    status: unknownJob,
    resultOf: unknownJob,
    remove: unknownJob,
  };
  readonly recordings = { list: async () => [] };
  readonly checkTarget = async (url: string): Promise<void> => {
    if (url.includes('private')) throw new AppError('target.refused', 'The target is refused: its address is private.');
  };

  #detail(): BroadcastDetail {
    const [summary] = [{ state: 'live', viewers: 1, startedAt: '2026-12-01T00:00:00.000Z' } as const];
    const sizes = { sourceWidth: 320, sourceHeight: 180, outputWidth: 1280, outputHeight: 720 };
    const viewer = { state: 'playing', codec: 'H264', own: false, bitrateBps: 1, fractionLost: 0 } as const;
    const sessions = [{ ...viewer, roundTripMs: null, estimateBps: null, rendition: 'full' as const }];
    return { name: 'room/anna', ...summary, ...sizes, settings: this.settings, stats: someStats, sessions };
  }
}

const tokens = { admin: makeToken(), foreign: makeToken(), wrong: makeToken() };
let nowMs = Date.now();
let app: FastifyInstance;
let services: Services;
/** Every route that fastify has below /api, as the document writes it. */
let served: string[];

beforeEach(() => {
  const entries = [
    { name: 'admin', hash: tokenHash(tokens.admin), admin: true },
    { name: 'foreign', hash: tokenHash(tokens.foreign), publish: ['*'], watch: ['*'], playback: ['*'], metrics: true },
  ];
  const settings = { mode: 'tokens', tokens: entries, failureDelayMs: 0 };
  const access = accessFor(settings, { onLoopback: false, now: () => nowMs });
  services = new Services(new FakeSessions(), access);
  app = fastify();
  served = [];
  app.addHook('onRoute', ({ method, url }) => {
    const methods = [method].flat().filter((each) => each !== 'HEAD');
    served.push(...methods.map((each) => `${each} ${url.replaceAll(/:(\w+)/g, '{$1}')}`));
  });
  const log = { error: () => {} };
  registerApi(app, { services, access, http: config.http, folder: '/recordings', log });
});
afterEach(() => app.close());

interface Problem {
  readonly code: string;
  readonly detail: string;
}

async function ask(method: InjectOptions['method'], url: string, body?: object, more: object = {}) {
  const all = { host: 'localhost', authorization: `Bearer ${tokens.admin}`, ...more };
  const headers = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
  const request: InjectOptions = { method: method ?? 'GET', url, headers, ...(body && { payload: body }) };
  const response = await app.inject(request);
  return { status: response.statusCode, type: response.headers['content-type'], body: response.body };
}

const problemOf = ({ body, type }: { body: string; type: unknown }): Problem => {
  expect(type).toBe('application/problem+json');
  return JSON.parse(body) as Problem;
};

describe('every action', () => {
  const routes = apiRoutes({ jobs: {} } as ApiServices, { folder: '' }).map(
    ({ method, url }) => [method, url] as const,
  );

  it.each(routes)('%s %s: no, a wrong, a foreign and the right credential', async (method, url) => {
    const path = url.replace(':name', 'nobody').replace(':id', '0'.repeat(24));
    const statusOf = async (headers: object) => (await ask(method, path, undefined, headers)).status;
    expect(await statusOf({ authorization: undefined })).toBe(401);
    expect(await statusOf({ authorization: `Bearer ${tokens.wrong}` })).toBe(401);
    expect(await statusOf({ authorization: `Bearer ${tokens.foreign}` })).toBe(403);
    expect(await statusOf({ origin: 'https://evil.example' })).toBe(403);
    expect([200, 204, 400, 404, 409, 415]).toContain(await statusOf({}));
  });
});

describe('the document', () => {
  interface Operation {
    readonly operationId: string;
    readonly parameters?: { readonly name: string; readonly in: string; readonly required: boolean }[];
    readonly responses: Record<string, object>;
    readonly requestBody?: { readonly content: Record<string, { schema?: object }> };
  }

  it('has every route, and no other', async () => {
    const { status, body } = await ask('GET', '/api/openapi.json', undefined, { authorization: undefined });
    expect(status).toBe(200);
    const { openapi, paths } = JSON.parse(body) as { openapi: string; paths: Record<string, object> };
    expect(openapi).toMatch(/^3\.1\./);
    const described = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
    );
    expect([...described, 'GET /api/openapi.json'].sort()).toEqual(served.sort());
  });

  it('names each operation once, its parameters, its answers, and nothing that it does not have', async () => {
    const { body } = await ask('GET', '/api/openapi.json');
    const document = JSON.parse(body) as {
      paths: Record<string, Record<string, Operation>>;
      components: { schemas: object };
    };
    const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
    );
    const ids = operations.map(({ operation }) => operation.operationId);
    expect(new Set(ids).size).toBe(ids.length);
    for (const { path, method, operation } of operations) {
      const inPath = (operation.parameters ?? []).filter((each) => each.in === 'path');
      expect(inPath.map(({ name }) => `{${name}}`)).toEqual(path.match(/\{\w+\}/g) ?? []);
      expect(Object.keys(operation.responses)).toEqual(expect.arrayContaining(['400', '401', '403', '429']));
      expect(Object.keys(operation.responses).some((status) => status.startsWith('2'))).toBe(true);
      if (['get', 'delete'].includes(method)) expect(operation.requestBody).toBeUndefined();
    }
    const referred = [...body.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g)].map((match) => match[1]);
    expect([...new Set(referred)]).toEqual(Object.keys(document.components.schemas));
    expect(body).not.toContain('$schema');
  });
});

describe('broadcasts', () => {
  it('are answered as the document says', async () => {
    const { body } = await ask('GET', '/api/admin/broadcasts/room%2Fanna');
    expect(broadcast.strict().parse(JSON.parse(body))).toEqual(JSON.parse(body));
    const list = JSON.parse((await ask('GET', '/api/admin/broadcasts')).body) as { broadcasts: object[] };
    expect(list.broadcasts).toEqual([JSON.parse(body)]);
    const viewers = async (query: string) => {
      return (JSON.parse((await ask('GET', `/api/admin/viewers${query}`)).body) as { viewers: object[] }).viewers;
    };
    expect(await viewers('')).toMatchObject([{ broadcast: 'room/anna', rendition: 'full' }]);
    expect(await viewers('?broadcast=other')).toEqual([]);
  });

  it('change while they run, within the bounds of the configuration', async () => {
    const url = '/api/admin/broadcasts/room%2Fanna';
    const { status, body } = await ask('PATCH', url, { maxBitrateBps: 900_000, ladder: false });
    expect([status, JSON.parse(body)]).toEqual([200, services.settings]);
    expect(services.settings).toMatchObject({ maxBitrateBps: 900_000, ladder: false, minBitrateBps: 300_000 });
    expect(problemOf(await ask('PATCH', url, { maxBitrateBps: 100 })).detail).toContain('exceeds maxBitrateBps');
    expect(problemOf(await ask('PATCH', url, { keyframeIntervalSeconds: 1e9 })).code).toBe('request.malformed');
    expect(problemOf(await ask('PATCH', url, { scale: 2 })).detail).toContain('scale');
    expect(problemOf(await ask('PATCH', url, {})).detail).toContain('names no setting');
    expect(problemOf(await ask('PATCH', '/api/admin/broadcasts/other', { ladder: true })).code).toBe(
      'request.notFound',
    );
    expect(services.settings.maxBitrateBps).toBe(900_000);
  });
});

describe('outputs and sources', () => {
  const whip = { name: 'push', broadcast: 'stage', type: 'whip', url: 'https://example.org/whip' };

  it('files of an output lie below the folder of the configuration, whatever is asked for', async () => {
    const recording = { name: 'rec', broadcast: 'stage', type: 'recording' };
    const { status, body } = await ask('POST', '/api/admin/outputs', recording);
    expect([status, output.parse(JSON.parse(body)).type]).toEqual([201, 'recording']);
    expect(services.outputList).toMatchObject([{ ...recording, folder: '/recordings/rec', rotateSeconds: 3600 }]);
    const elsewhere = { ...recording, name: 'rec2', folder: '/etc' };
    expect(problemOf(await ask('POST', '/api/admin/outputs', elsewhere)).detail).toContain('folder');
    expect(problemOf(await ask('POST', '/api/admin/outputs', { ...recording, name: '../x' })).detail).toContain('name');
    expect(services.outputList).toHaveLength(1);
  });

  it('targets are checked before anything starts, and the address says why not', async () => {
    const refused = await ask('POST', '/api/admin/outputs', { ...whip, url: 'https://private/whip' });
    expect([refused.status, problemOf(refused).detail]).toEqual([403, expect.stringContaining('private')]);
    const source = { name: 'cam', url: 'rtsp://private/1' };
    expect((await ask('POST', '/api/admin/sources', source)).status).toBe(403);
    const file = { name: 'cam', url: 'file:///etc/passwd' };
    expect(problemOf(await ask('POST', '/api/admin/sources', file)).detail).toContain('must not be a file');
    expect([services.outputList, services.sourceList]).toEqual([[], []]);
    expect((await ask('POST', '/api/admin/sources', { ...source, url: 'rtsp://example.org/1' })).status).toBe(201);
  });

  it('one that is changed is stopped first, and only when the change is right', async () => {
    await ask('POST', '/api/admin/outputs', whip);
    expect((await ask('PUT', '/api/admin/outputs/push', { ...whip, url: 'https://private/' })).status).toBe(403);
    expect((await ask('PUT', '/api/admin/outputs/push', { ...whip, name: 'other' })).status).toBe(400);
    expect((await ask('PUT', '/api/admin/outputs/other', { ...whip, name: 'other' })).status).toBe(404);
    expect(services.asked).toEqual([]);
    expect((await ask('PUT', '/api/admin/outputs/push', { ...whip, track: 'source' })).status).toBe(200);
    expect(services.asked).toEqual([{ stop: 'push' }]);
    expect(services.outputList.at(-1)).toMatchObject({ track: 'source' });
    expect((await ask('DELETE', '/api/admin/outputs/known')).status).toBe(204);
  });
});

describe('the server', () => {
  it('a drain answers how many sessions run; what tokens cannot be read for is named', async () => {
    expect(await ask('POST', '/api/admin/drain')).toMatchObject({
      status: 200,
      body: '{"draining":true,"sessions":3}',
    });
    expect(services.asked).toEqual([{ withinSeconds: 60 }]);
    const refused = await ask('POST', '/api/admin/tokens/reload');
    expect([refused.status, problemOf(refused).detail]).toEqual([409, expect.stringContaining('Missing comma')]);
  });

  it('a body that is no JSON is a problem with a name', async () => {
    const more = { 'content-type': 'application/json' };
    const request = {
      method: 'POST',
      url: '/api/admin/drain',
      payload: '{"x"',
      headers: { ...more, host: 'localhost' },
    };
    const response = await app.inject({
      ...(request as InjectOptions),
      headers: { ...request.headers, authorization: `Bearer ${tokens.admin}` },
    });
    const problem = problemOf({ body: response.body, type: response.headers['content-type'] });
    expect([response.statusCode, problem.code]).toEqual([400, 'request.malformed']);
  });

  it('a kick ends the publisher, and its name is refused for the time', async () => {
    const request = { action: 'publish', name: 'stage', credential: tokens.foreign, address: '203.0.113.9' } as const;
    const sink = { onState: () => {}, onStats: () => {}, onCandidate: () => {} };
    const published = { sdp: 'offer', resumeToken: undefined, tokenKind: 'own', remoteAddress: '::1' } as const;
    const kick = async (body: object) => (await ask('POST', '/api/admin/kick', body)).status;
    expect(await kick({ name: 'stage' })).toBe(409);
    await expect(services.access.authorize(request)).resolves.toBeDefined();
    await services.sessions.publish({ ...published, name: 'stage' }, sink);
    expect(await kick({ name: 'stage', seconds: 0 })).toBe(400);
    expect(await kick({ name: 'stage', seconds: 60 })).toBe(200);
    await expect(services.access.authorize(request)).rejects.toMatchObject({ code: 'access.kicked', status: 403 });
    nowMs += 60_000;
    await expect(services.access.authorize(request)).resolves.toBeDefined();
  });
});
