import { AppError } from '../errors.ts';
import { parseBoundedJson } from './bounded-json.ts';
import { digestOf } from './bearer.ts';
import { exchange } from './exchange.ts';
import { noCredential, notValid } from './identity.ts';
import { AddressCount } from './limits.ts';
import type { Action } from './rights.ts';
import type { TargetPolicy } from './target-policy.ts';

/** What is asked of the operator's program about one action. */
export interface HookQuestion {
  readonly action: Action;
  readonly name: string;
  readonly credential: string | undefined;
  readonly address: string;
  readonly userAgent?: string | undefined;
}

export interface HookAnswer {
  /** The session may last this long. */
  readonly lifetimeSeconds: number | undefined;
}

/** The words of MediaMTX's hook (externalAuthenticationURL, authHTTPAddress). */
const ACTIONS: Readonly<Record<Action, string>> = {
  publish: 'publish',
  watch: 'read',
  hls: 'read',
  playback: 'playback',
  rooms: 'publish',
  metrics: 'metrics',
  admin: 'api',
};
const PROTOCOLS: Readonly<Partial<Record<Action, string>>> = {
  publish: 'webrtc',
  watch: 'webrtc',
  rooms: 'webrtc',
  hls: 'hls',
};

const ANSWER_WITHIN_MS = 5000;
/** A player asks for a segment every few seconds: one answer serves this long. Publishing is asked every time. */
const REMEMBER_MS = 10_000;
const MAX_REMEMBERED = 4096;
/** A hook that hangs does not collect requests. */
const MAX_UNDER_WAY = 64;
/** Nor does one address, whose every question is new, keep those of others from it. */
const MAX_UNDER_WAY_PER_ADDRESS = 32;
const MAX_LIFETIME_S = 366 * 86_400;

/** A program of the operator decides: POST as MediaMTX sends it; 2xx is yes, and whatever goes wrong is no. */
export class WebHook {
  readonly #url: string;
  readonly #policy: TargetPolicy;
  readonly #now: () => number;
  readonly #withinMs: number;
  /** Oldest first. */
  readonly #remembered = new Map<string, { readonly untilMs: number; readonly answer: HookAnswer }>();
  #underWay = 0;
  readonly #byAddress = new AddressCount(MAX_UNDER_WAY_PER_ADDRESS);

  /** @param options now: monotonic milliseconds; both for tests */
  constructor(
    url: string,
    policy: TargetPolicy,
    {
      now = () => performance.now(),
      withinMs = ANSWER_WITHIN_MS,
    }: { readonly now?: () => number; readonly withinMs?: number } = {},
  ) {
    this.#url = url;
    this.#policy = policy;
    this.#now = now;
    this.#withinMs = withinMs;
  }

  /** @throws AppError request.unauthorized | request.forbidden | request.tooMany | access.unavailable */
  async ask(question: HookQuestion): Promise<HookAnswer> {
    const key = keyOf(question);
    const known = key === undefined ? undefined : this.#remembered.get(key);
    if (known !== undefined && known.untilMs > this.#now()) return known.answer;
    if (this.#underWay >= MAX_UNDER_WAY) throw unavailable('too many questions are open');
    if (!this.#byAddress.enter(question.address)) {
      throw new AppError('request.tooMany', 'Too many questions about the rights of one address are open.');
    }
    this.#underWay += 1;
    try {
      const answer = await this.#post(question);
      if (key !== undefined) this.#remember(key, answer);
      return answer;
    } finally {
      this.#underWay -= 1;
      this.#byAddress.exit(question.address);
    }
  }

  async #post(question: HookQuestion): Promise<HookAnswer> {
    const { status, body } = await this.#answered(question);
    if (status >= 200 && status <= 299) return answerOf(body);
    if (question.credential === undefined && (status === 401 || status === 403)) throw noCredential();
    if (status === 401) throw notValid();
    if (status >= 400 && status <= 499) throw forbidden(question);
    throw unavailable(`it answered ${status}`);
  }

  async #answered(question: HookQuestion): Promise<{ readonly status: number; readonly body: string }> {
    try {
      const target = await this.#policy.resolve(this.#url, ['https:', 'http:']);
      return await exchange(target, {
        method: 'POST',
        headers: { 'content-type': 'application/json', accept: 'application/json' },
        body: JSON.stringify(bodyOf(question)),
        withinMs: this.#withinMs,
      });
    } catch (cause) {
      throw unavailable(AppError.from(cause).message, cause);
    }
  }

  #remember(key: string, answer: HookAnswer): void {
    this.#remembered.delete(key);
    this.#remembered.set(key, { untilMs: this.#now() + REMEMBER_MS, answer });
    if (this.#remembered.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#remembered.keys();
    if (oldest !== undefined) this.#remembered.delete(oldest);
  }
}

function bodyOf({ action, name, credential = '', address, userAgent = '' }: HookQuestion): object {
  return {
    ip: address,
    user: '',
    password: '',
    token: credential,
    action: ACTIONS[action],
    path: name,
    protocol: PROTOCOLS[action] ?? '',
    id: null,
    query: '',
    userAgent,
  };
}

/** Undefined: asked every time. */
function keyOf({ action, name, credential = '', address }: HookQuestion): string | undefined {
  if (action !== 'watch' && action !== 'hls' && action !== 'playback') return undefined;
  return JSON.stringify([action, name, digestOf(credential).toString('base64url'), address]);
}

/** The body is the operator's to leave empty, or to fill with something else. */
function answerOf(body: string): HookAnswer {
  let lifetimeSeconds: unknown;
  try {
    const parsed = parseBoundedJson(body);
    lifetimeSeconds = (parsed as { readonly lifetimeSeconds?: unknown } | null)?.lifetimeSeconds;
  } catch {
    return { lifetimeSeconds: undefined };
  }
  if (lifetimeSeconds === undefined || lifetimeSeconds === null) return { lifetimeSeconds: undefined };
  // A limit that is written wrong must not become none.
  if (typeof lifetimeSeconds !== 'number' || !(lifetimeSeconds > 0))
    throw unavailable('its lifetimeSeconds is no number');
  return { lifetimeSeconds: Math.min(lifetimeSeconds, MAX_LIFETIME_S) };
}

function forbidden({ action, name }: HookQuestion): AppError {
  return new AppError('request.forbidden', `You have no right to ${action} ${JSON.stringify(name)}.`, {
    remedy: 'Ask whoever runs the server for the right.',
  });
}

/** @param reason for the log; names scheme, host and port of the hook at most */
function unavailable(reason: string, cause?: unknown): AppError {
  return new AppError('access.unavailable', 'Whoever decides about access cannot be asked now.', {
    cause,
    context: { reason },
  });
}
