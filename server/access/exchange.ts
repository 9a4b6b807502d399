import type { IncomingHttpHeaders, IncomingMessage } from 'node:http';
import { shownTarget, type CheckedTarget } from './target-policy.ts';
import { sendToTarget, type TargetRequest } from './target-request.ts';
import { AppError } from '../errors.ts';

/** The longest answer of SDP at hand has 12 kB. */
const MAX_BODY_BYTES = 64 * 1024;

export interface ExchangeRequest {
  readonly method: TargetRequest['method'];
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** From the connection to the last byte of the answer. */
  readonly withinMs: number;
  readonly signal?: AbortSignal | undefined;
}

export interface Exchanged {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/**
 * One HTTP request on a connection of its own to an address that was checked; nothing is followed, nothing is kept open.
 * @throws AppError target.unreachable | target.answer
 */
export async function exchange(target: CheckedTarget, request: ExchangeRequest): Promise<Exchanged> {
  const limit = AbortSignal.timeout(request.withinMs);
  const signal = request.signal === undefined ? limit : AbortSignal.any([limit, request.signal]);
  try {
    const { method, headers, body = '' } = request;
    const response = await sendToTarget(target, { method, headers, body, signal });
    return { status: response.statusCode ?? 0, headers: response.headers, body: await bodyOf(response, target) };
  } catch (thrown) {
    if (thrown instanceof AppError) throw thrown;
    const name = shownTarget(target.url);
    const why = limit.aborted ? `it did not answer within ${request.withinMs / 1000} s` : reasonOf(thrown);
    throw new AppError('target.unreachable', `${name} cannot be reached: ${why}.`, {
      cause: thrown,
      context: { target: name },
    });
  }
}

async function bodyOf(response: IncomingMessage, { url }: CheckedTarget): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) {
      response.destroy();
      throw new AppError('target.answer', `${shownTarget(url)} answered with more than ${MAX_BODY_BYTES} bytes.`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString('utf8');
}

/** Of a name with several addresses Node reports all that failed. */
function reasonOf(thrown: unknown): string {
  const [first = thrown] = thrown instanceof AggregateError ? (thrown.errors as unknown[]) : [];
  return first instanceof Error ? first.message : String(first);
}
