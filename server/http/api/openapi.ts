import { z } from 'zod';
import { ERRORS, type ErrorCode } from '../../errors.ts';
import type { ApiRoute } from './route.ts';

type Json = Readonly<Record<string, unknown>>;

/** What every route may answer. */
const COMMON: readonly ErrorCode[] = [
  'request.malformed',
  'request.unauthorized',
  'request.forbidden',
  'request.origin',
  'request.tooMany',
];

/** RFC 9457, and the catalogue's fields (docs/errors.md). */
const problem = z
  .object({
    type: z.literal('about:blank'),
    title: z.string(),
    status: z.number().int(),
    detail: z.string().describe('what was wrong'),
    code: z.string().describe('docs/errors.md has all of them'),
    remedy: z.string().describe('what to do'),
    retryable: z.boolean().describe('the same request may succeed later'),
  })
  .describe('An error');

/** The document of all routes, OpenAPI 3.1, made of the schemas that check requests. */
export function openApiDocument(routes: readonly ApiRoute[], version: string): Json {
  const paths: Record<string, Record<string, Json>> = {};
  for (const each of routes) {
    const path = each.url.replaceAll(/:(\w+)/g, '{$1}');
    (paths[path] ??= {})[each.method.toLowerCase()] = operation(each);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'FlashVSR Live',
      version,
      description: 'Operation of a running server. docs/admin.md explains it.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    security: [{ bearer: [] }],
    paths,
    components: {
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer', description: 'A token with the admin right (docs/access.md)' },
      },
      schemas: { Problem: jsonSchema(problem, 'output') },
    },
  };
}

function operation(each: ApiRoute): Json {
  const { id, summary, description, params, query, body, rawBody } = each;
  const parameters = [...parametersOf(params, 'path'), ...parametersOf(query, 'query')];
  return {
    operationId: id,
    summary,
    ...(description !== undefined && { description }),
    ...(parameters.length > 0 && { parameters }),
    ...(body !== undefined && {
      requestBody: {
        required: !body.safeParse(undefined).success,
        content: { 'application/json': { schema: jsonSchema(body, 'input') } },
      },
    }),
    ...(rawBody !== undefined && {
      requestBody: { required: true, content: Object.fromEntries(rawBody.map((type) => [type, {}])) },
    }),
    responses: { ...success(each), ...failures(each.errors) },
  };
}

function success({ answer, rawAnswer, status }: ApiRoute): Json {
  if (rawAnswer !== undefined) return { [status ?? 200]: { description: 'Success', content: { [rawAnswer]: {} } } };
  if (answer === undefined) return { [status ?? 204]: { description: 'Success' } };
  const content = { 'application/json': { schema: jsonSchema(answer, 'output') } };
  return { [status ?? 200]: { description: 'Success', content } };
}

/** By status: the codes that have it. */
function failures(codes: readonly ErrorCode[]): Json {
  const byStatus: Record<number, string[]> = {};
  for (const code of new Set([...COMMON, ...codes])) (byStatus[ERRORS[code].status] ??= []).push(code);
  const content = { 'application/problem+json': { schema: { $ref: '#/components/schemas/Problem' } } };
  return Object.fromEntries(
    Object.entries(byStatus).map(([status, found]) => [status, { description: found.join(', '), content }]),
  );
}

function parametersOf(schema: z.ZodObject | undefined, place: 'path' | 'query'): Json[] {
  if (schema === undefined) return [];
  return Object.entries(schema.shape as Readonly<Record<string, z.ZodType>>).map(([name, field]) => ({
    name,
    in: place,
    required: place === 'path' || !field.safeParse(undefined).success,
    schema: jsonSchema(field, 'input'),
  }));
}

/** JSON Schema 2020-12, which OpenAPI 3.1 takes as it is; the dialect is named once, by the document. */
function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _dialect, '~standard': _standard, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: 'any' });
  return rest;
}
