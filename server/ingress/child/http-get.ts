import type { IncomingMessage } from 'node:http';
import { isRedirect, shownTarget, type CheckedTarget, type TargetPolicy } from '../../access/target-policy.ts';
import { sendToTarget } from '../../access/target-request.ts';
import { AppError } from '../../errors.ts';
import { unreachable } from './tunnel.ts';

const WEB_SCHEMES = ['https:', 'http:'];

export interface HttpAnswer {
  /** After redirects: what relative addresses of the answer refer to. */
  readonly target: CheckedTarget;
  readonly body: AsyncIterable<Buffer>;
}

export interface HttpGetOptions {
  readonly policy: TargetPolicy;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  /** Part of the resource: first byte and number of bytes. */
  readonly range?: { readonly from: number; readonly length: number } | undefined;
  /** User and password go to this origin alone. */
  readonly credentialsFor: URL;
}

/**
 * GET with every hop checked by the policy, on a connection of its own to the checked address. The certificate is checked by Node.
 * @throws AppError target.refused | target.unreachable | target.answer
 */
export async function httpGet(url: string | URL, options: HttpGetOptions): Promise<HttpAnswer> {
  let target = await options.policy.resolve(url, WEB_SCHEMES);
  for (;;) {
    const answer = await send(target, options);
    const { statusCode = 0, headers } = answer;
    if (isRedirect(statusCode)) {
      answer.destroy();
      target = await options.policy.redirect(target, headers.location ?? '', WEB_SCHEMES);
      continue;
    }
    if (statusCode !== 200 && !(statusCode === 206 && options.range !== undefined)) {
      answer.destroy();
      throw new AppError('target.answer', `${shownTarget(target.url)} answers with status ${statusCode}.`, {
        context: { status: statusCode },
      });
    }
    if (options.range !== undefined && statusCode === 200) {
      answer.destroy();
      throw new AppError('target.answer', `${shownTarget(target.url)} does not give parts of a resource.`);
    }
    return { target, body: bodyOf(answer, target) };
  }
}

async function send(target: CheckedTarget, options: HttpGetOptions): Promise<IncomingMessage> {
  const { timeoutMs, signal, range, credentialsFor } = options;
  const { username, password } = credentialsFor;
  const own = target.url.origin === credentialsFor.origin && username !== '';
  try {
    return await sendToTarget(target, {
      method: 'GET',
      ...(range !== undefined && { headers: { range: `bytes=${range.from}-${range.from + range.length - 1}` } }),
      ...(own && { credentials: `${decodeURIComponent(username)}:${decodeURIComponent(password)}` }),
      idleMs: timeoutMs,
      signal,
    });
  } catch (cause) {
    throw unreachable(target, cause as Error);
  }
}

async function* bodyOf(answer: IncomingMessage, target: CheckedTarget): AsyncGenerator<Buffer, void, undefined> {
  try {
    for await (const chunk of answer) yield chunk as Buffer;
  } catch (cause) {
    throw unreachable(target, cause as Error);
  } finally {
    answer.destroy();
  }
}

/** @throws AppError target.answer when there is more */
export async function wholeBody({ body, target }: HttpAnswer, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > maxBytes) {
      throw new AppError('target.answer', `${shownTarget(target.url)} answers with more than ${maxBytes} bytes.`);
    }
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, bytes);
}
