import { isRedirect, shownTarget, type CheckedTarget, type TargetPolicy } from '../access/target-policy.ts';
import { AppError } from '../errors.ts';
import { exchange, type Exchanged } from '../access/exchange.ts';
import { REJECTED_RETRY_MS, refusalOf, type Purpose } from './refusal.ts';
import { candidateFragment } from './sdp-fragment.ts';

/**
 * The HTTP side of a WHIP (RFC 9725) or WHEP client. The offer has the candidates that are there at once, usually all; PATCH
 * brings what a slow TURN server adds. A target that says nothing of PATCH, or has `*` as entity tag, is as good as any.
 */

/** Of addresses that take WHIP or WHEP. */
export const WHIP_SCHEMES = ['https:', 'http:'] as const;
const SDP = 'application/sdp';
const FRAGMENT = 'application/trickle-ice-sdpfrag';
/** OBS gives up after 8 s. */
const POST_WITHIN_MS = 10_000;
const PATCH_WITHIN_MS = 5_000;
const DELETE_WITHIN_MS = 3_000;
const MAX_SESSION_URL_CHARACTERS = 4096;

export interface PostRequest {
  readonly url: string;
  /** WHIP, or WHEP: what an error advises; left out, WHIP. */
  readonly purpose?: Purpose | undefined;
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
  readonly purpose: Purpose;
  readonly policy: TargetPolicy;
  readonly origin: string;
  readonly bearer: string | undefined;
}

/** What a POST has made at the target. */
interface Made {
  readonly offer: string;
  readonly answer: string;
  /** Some servers name none: their session ends with DTLS alone. */
  readonly url: URL | undefined;
  /** Names the ICE session. A server without one takes PATCH without If-Match, or not at all. */
  readonly etag: string | undefined;
}

/** One session at the target. */
export class WhipSession {
  readonly #sender: Sender;
  readonly #made: Made;
  #ended: Promise<void> | undefined;

  constructor(made: Made, sender: Sender) {
    this.#made = made;
    this.#sender = sender;
  }

  get answer(): string {
    return this.#made.answer;
  }

  /**
   * PATCH with candidates that were found after the offer (RFC 9725 section 4.3.2).
   * @param candidates candidate-attribute values without `a=`
   * @throws AppError: it was not taken; the session goes on
   */
  async trickle(candidates: readonly string[], withinMs = PATCH_WITHIN_MS): Promise<void> {
    const { url, offer, etag } = this.#made;
    if (url === undefined || this.#ended !== undefined) return;
    const headers = { 'content-type': FRAGMENT, ...(etag === undefined ? {} : { 'if-match': etag }) };
    const body = candidateFragment(offer, candidates);
    await this.#ask(url, (at, authorization) =>
      exchange(at, { method: 'PATCH', headers: { ...headers, ...authorization }, body, withinMs }),
    );
  }

  /** DELETE; a session that the target does not know any more has ended. Idempotent. @throws AppError */
  end(withinMs = DELETE_WITHIN_MS): Promise<void> {
    this.#ended ??= this.#end(withinMs);
    return this.#ended;
  }

  async #end(withinMs: number): Promise<void> {
    const { url } = this.#made;
    if (url === undefined) return;
    const gone = [404, 410];
    await this.#ask(url, (at, headers) => exchange(at, { method: 'DELETE', headers, withinMs }), gone);
  }

  /** @param alsoGood statuses besides 2xx */
  async #ask(url: URL, ask: Ask, alsoGood: readonly number[] = []): Promise<void> {
    const target = await this.#sender.policy.resolve(url, WHIP_SCHEMES);
    const followed = await follow(target, this.#sender, ask);
    const { status } = followed.answered;
    if (status >= 300 && !alsoGood.includes(status)) {
      throw refusalOf(this.#sender.purpose, followed.url, followed.answered, followed.bearerWithheld).error;
    }
  }
}

/** @throws PostError */
export async function postOffer(request: PostRequest): Promise<WhipSession> {
  const { url, offer, bearer, policy, signal, purpose = 'publish', withinMs = POST_WITHIN_MS } = request;
  try {
    const first = await policy.resolve(url, WHIP_SCHEMES);
    const sender: Sender = { purpose, policy, bearer, origin: first.url.origin };
    const headers = { 'content-type': SDP, accept: SDP };
    const followed = await follow(first, sender, (target, authorization) =>
      exchange(target, { method: 'POST', headers: { ...headers, ...authorization }, body: offer, withinMs, signal }),
    );
    return sessionOf(offer, followed, sender);
  } catch (thrown) {
    if (thrown instanceof PostError) throw thrown;
    const error = AppError.from(thrown);
    throw new PostError(error, error.code === 'target.refused' ? REJECTED_RETRY_MS : 0);
  }
}

type Ask = (target: CheckedTarget, authorization: Readonly<Record<string, string>>) => Promise<Exchanged>;

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
async function follow(first: CheckedTarget, { policy, origin, bearer }: Sender, ask: Ask): Promise<Followed> {
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

function sessionOf(offer: string, { answered, url, bearerWithheld }: Followed, sender: Sender): WhipSession {
  const { status, headers, body } = answered;
  const { etag } = headers;
  const made = { offer, answer: body, url: sessionUrl(url, headers.location), etag };
  const session = new WhipSession(made, sender);
  if (status !== 201) {
    // With an offer of its own a WHEP server has made a session that waits for our answer (section 4.2.2 of the draft).
    if (status === 406) session.end().catch(() => undefined);
    const { error, retryAfterMs } = refusalOf(sender.purpose, url, answered, bearerWithheld);
    throw new PostError(error, retryAfterMs);
  }
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
