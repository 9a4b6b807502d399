import { isRedirect, shownTarget, type CheckedTarget, type TargetPolicy } from '../access/target-policy.ts';
import { AppError } from '../errors.ts';
import { exchange, type Exchanged } from './exchange.ts';
import { REJECTED_RETRY_MS, refusalOf } from './refusal.ts';

/**
 * The HTTP side of a WHIP (RFC 9725) or WHEP client. All candidates are in the offer, so that no PATCH is needed; a target
 * that says nothing of PATCH, or has `*` as entity tag, is as good as any.
 */

/** Of addresses that take WHIP or WHEP. */
export const WHIP_SCHEMES = ['https:', 'http:'] as const;
const SDP = 'application/sdp';
/** OBS gives up after 8 s. */
const POST_WITHIN_MS = 10_000;
const DELETE_WITHIN_MS = 3_000;
const MAX_SESSION_URL_CHARACTERS = 4096;

export interface PostRequest {
  readonly url: string;
  readonly offer: string;
  /** For the origin of `url` alone. */
  readonly bearer?: string | undefined;
  readonly policy: TargetPolicy;
  readonly withinMs?: number;
  readonly signal?: AbortSignal;
}

/** An error with the least time until the next try. */
export class PostError extends Error {
  override readonly name = 'PostError';
  readonly error: AppError;
  readonly retryAfterMs: number;

  constructor(error: AppError, retryAfterMs: number) {
    super(error.message);
    this.error = error;
    this.retryAfterMs = retryAfterMs;
  }
}

interface Sender {
  readonly policy: TargetPolicy;
  readonly origin: string;
  readonly bearer: string | undefined;
}

/** What a POST has made at the target. */
export class WhipSession {
  readonly answer: string;
  readonly #sender: Sender;
  /** Some servers name none: their session ends with DTLS alone. */
  readonly #url: URL | undefined;
  #ended: Promise<void> | undefined;

  constructor(answer: string, url: URL | undefined, sender: Sender) {
    this.answer = answer;
    this.#url = url;
    this.#sender = sender;
  }

  /** DELETE; a session that the target does not know any more has ended. Idempotent. @throws AppError */
  end(withinMs = DELETE_WITHIN_MS): Promise<void> {
    this.#ended ??= this.#end(withinMs);
    return this.#ended;
  }

  async #end(withinMs: number): Promise<void> {
    if (this.#url === undefined) return;
    const target = await this.#sender.policy.resolve(this.#url, WHIP_SCHEMES);
    const { answered, url, bearerWithheld } = await follow(target, this.#sender, (at, authorization) =>
      exchange(at, { method: 'DELETE', headers: authorization, withinMs }),
    );
    const { status } = answered;
    if (status < 300 || status === 404 || status === 410) return;
    throw refusalOf(url, answered, bearerWithheld).error;
  }
}

/** @throws PostError */
export async function postOffer(request: PostRequest): Promise<WhipSession> {
  const { url, offer, bearer, policy, signal, withinMs = POST_WITHIN_MS } = request;
  try {
    const first = await policy.resolve(url, WHIP_SCHEMES);
    const sender: Sender = { policy, bearer, origin: first.url.origin };
    const headers = { 'content-type': SDP, accept: SDP };
    const followed = await follow(first, sender, (target, authorization) =>
      exchange(target, { method: 'POST', headers: { ...headers, ...authorization }, body: offer, withinMs, signal }),
    );
    return sessionOf(followed, sender);
  } catch (thrown) {
    if (thrown instanceof PostError) throw thrown;
    const error = AppError.from(thrown);
    throw new PostError(error, error.code === 'target.refused' ? REJECTED_RETRY_MS : 0);
  }
}

interface Followed {
  readonly answered: Exchanged;
  /** Who answered. */
  readonly url: URL;
  readonly bearerWithheld: boolean;
}

/**
 * The same request again where a redirect leads: RFC 9725 section 4.5 knows 307, older servers send 301, 302 and 308. The
 * policy checks every hop, counts them, and refuses to leave https.
 */
async function follow(
  first: CheckedTarget,
  { policy, origin, bearer }: Sender,
  ask: (target: CheckedTarget, authorization: Readonly<Record<string, string>>) => Promise<Exchanged>,
): Promise<Followed> {
  const seen = new Set<string>();
  let target = first;
  for (;;) {
    const { url } = target;
    if (seen.has(url.href)) throw atFault(url, 'redirects in a circle');
    seen.add(url.href);
    const own = url.origin === origin;
    const answered = await ask(target, own && bearer !== undefined ? { authorization: `Bearer ${bearer}` } : {});
    if (!isRedirect(answered.status)) return { answered, url, bearerWithheld: bearer !== undefined && !own };
    // 303 asks for a GET of something else (RFC 9110 section 15.4.4).
    if (answered.status === 303) throw atFault(url, 'answered 303, which is not for WHIP');
    const { location } = answered.headers;
    if (location === undefined) throw atFault(url, `answered ${answered.status} without Location`);
    target = await policy.redirect(target, location, WHIP_SCHEMES);
  }
}

function sessionOf({ answered, url, bearerWithheld }: Followed, sender: Sender): WhipSession {
  const { status, headers, body } = answered;
  if (status !== 201) {
    const { error, retryAfterMs } = refusalOf(url, answered, bearerWithheld);
    throw new PostError(error, retryAfterMs);
  }
  const session = new WhipSession(body, sessionUrl(url, headers.location), sender);
  const type = headers['content-type']?.split(';')[0]?.trim().toLowerCase() ?? 'none';
  const problem =
    type === SDP ? undefined : `answered 201 with the type ${type.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, 60)}`;
  const wrong = problem ?? (body.trim() === '' ? 'answered 201 without SDP' : undefined);
  if (wrong === undefined) return session;
  // What it has made is of no use.
  session.end().catch(() => undefined);
  throw new PostError(atFault(url, `${wrong}, not ${SDP}`), 0);
}

/** Absolute or relative (RFC 9110 section 10.2.2). */
function sessionUrl(base: URL, location: string | undefined): URL | undefined {
  if (location === undefined || location.length > MAX_SESSION_URL_CHARACTERS) return undefined;
  return URL.canParse(location, base.href) ? new URL(location, base) : undefined;
}

function atFault(url: URL, what: string): AppError {
  const name = shownTarget(url);
  return new AppError('target.answer', `${name} ${what}.`, { context: { target: name } });
}
