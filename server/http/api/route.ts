import type { FastifyReply, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { AppError, type ErrorCode } from '../../errors.ts';

/** What a handler gets: the parts of the request as its schemas have made them. */
export interface ApiInput<Params, Query, Body> {
  readonly params: Params;
  readonly query: Query;
  readonly body: Body;
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** One route of the API: its checks, its page in the OpenAPI document and its work are this one object. */
export interface ApiRoute {
  /** Names the operation in generated clients. */
  readonly id: string;
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  /** As fastify writes it, `/api/admin/outputs/:name`. */
  readonly url: string;
  readonly summary: string;
  readonly description?: string;
  readonly params?: z.ZodObject;
  readonly query?: z.ZodObject;
  readonly body?: z.ZodType;
  /** A body that is no JSON: its media types. The handler reads it from the request. */
  readonly rawBody?: readonly string[];
  /** Absent: no body comes back, 204. */
  readonly answer?: z.ZodType;
  /** Of a success; absent: 200, or 204 without `answer`. */
  readonly status?: number;
  /** An answer that is no JSON: its media type. */
  readonly rawAnswer?: string;
  /** Besides those of every route: what can go wrong. */
  readonly errors: readonly ErrorCode[];
  /** @returns the answer; undefined when it has been sent, or there is none */
  handle(input: ApiInput<unknown, unknown, unknown>): Promise<unknown>;
}

type Parsed<Schema> = Schema extends z.ZodType ? z.output<Schema> : undefined;

interface TypedRoute<
  Params extends z.ZodObject | undefined,
  Query extends z.ZodObject | undefined,
  Body extends z.ZodType | undefined,
  Answer extends z.ZodType | undefined,
> extends Omit<ApiRoute, 'params' | 'query' | 'body' | 'answer' | 'handle'> {
  readonly params?: Params;
  readonly query?: Query;
  readonly body?: Body;
  readonly answer?: Answer;
  handle(
    input: ApiInput<Parsed<Params>, Parsed<Query>, Parsed<Body>>,
  ): Promise<Answer extends z.ZodType ? z.input<Answer> : unknown>;
}

/** Ties a handler's arguments and result to the route's schemas. */
export function route<
  Params extends z.ZodObject | undefined = undefined,
  Query extends z.ZodObject | undefined = undefined,
  Body extends z.ZodType | undefined = undefined,
  Answer extends z.ZodType | undefined = undefined,
>(typed: TypedRoute<Params, Query, Body, Answer>): ApiRoute {
  return typed as unknown as ApiRoute;
}

/** @param where names the part in the message: `The body`, `The query` @throws AppError request.malformed */
export function parsed<Schema extends z.ZodType>(schema: Schema, value: unknown, where: string): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.slice(0, 5).map(({ path, message }) => {
    return `${path.length === 0 ? where : path.join('.')}: ${message}`;
  });
  throw new AppError('request.malformed', `${problems.join('; ')}.`, {
    remedy: 'Send what /api/openapi.json describes.',
  });
}
