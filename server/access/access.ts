import { createHmac, randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { AppError } from '../errors.ts';
import { FailureDelays } from './failure-delays.ts';
import { noCredential, notValid, type Identity, type Verifier } from './identity.ts';
import { JwtTokens, type JwtSettings } from './jwt-tokens.ts';
import { Kicked } from './kicked.ts';
import { LogGate } from './log-gate.ts';
import { NO_RIGHTS, allows, covers, type Action } from './rights.ts';
import { StaticTokens, type TokenEntry } from './static-tokens.ts';
import type { TargetPolicy } from './target-policy.ts';
import { WatchLinks } from './watch-links.ts';
import { WebHook } from './web-hook.ts';

export type AccessMode = 'open' | 'tokens' | 'jwt' | 'webhook';

/** The configuration's section `access`, as far as decisions need it. */
export interface AccessSettings extends JwtSettings {
  /** Undefined: open, on a loopback address alone (config/schema.ts). */
  readonly mode?: AccessMode | undefined;
  /** cli/lan-start.ts has made tokens of it, and the mode `tokens`. */
  readonly lan?: boolean | undefined;
  /** Names that may be watched without a credential. */
  readonly public: readonly string[];
  readonly tokens: readonly TokenEntry[];
  readonly webhookUrl?: string | undefined;
  readonly endAtExpiry: boolean;
  readonly linkSecret?: string | undefined;
  readonly linkSeconds: number;
  readonly failureDelayMs: number;
}

export interface AccessRequest {
  readonly action: Action;
  /** Of the broadcast; empty for an action without one. */
  readonly name: string;
  readonly credential: string | undefined;
  readonly address: string;
  /** A program on the server's own machine asks (local-peer.ts). */
  readonly local?: boolean;
  readonly userAgent?: string | undefined;
}

/** A yes. */
export interface Grant {
  /** Digest of the credential, undefined without one. The same for a renewed JWT of one subject. */
  readonly holder: string | undefined;
  /** What a name that is published belongs to, where that is not the credential itself. A secret. */
  readonly owner: string | undefined;
  /** Milliseconds of the wall clock: the session ends then. */
  readonly endsAtMs: number | undefined;
}

/** What a client may see, for lists. */
export interface Sight {
  sees(name: string): boolean;
  /** It may publish or watch something: TURN servers are for it. */
  readonly joins: boolean;
}

/** Of a client of an open server. */
export const EVERYTHING: Sight = { sees: () => true, joins: true };
/** Of a client that has not been let in anywhere. */
export const NOTHING: Sight = { sees: () => false, joins: false };

export interface AccessOptions {
  readonly policy: TargetPolicy;
  /** The server listens on a loopback address: its own machine's programs may operate it. */
  readonly onLoopback: boolean;
  readonly log: { warn(fields: object, event: string): void; info(fields: object, event: string): void };
  readonly now?: () => number;
}

/** What the server's own machine may do without a credential. Watching and publishing are not among them. */
const LOCAL_ACTIONS: readonly Action[] = ['hls', 'playback', 'metrics', 'admin'];
/** Worth a line in the log when they are permitted. */
const LOGGED: readonly Action[] = ['publish', 'admin'];

/** Who may do what: the one place that decides, for every transport. */
export class Access {
  readonly mode: AccessMode;
  readonly #settings: AccessSettings;
  readonly #options: AccessOptions;
  readonly #now: () => number;
  readonly #verifier: Verifier | undefined;
  /** In mode `tokens` the verifier. */
  readonly #tokens: StaticTokens | undefined;
  #entries: readonly TokenEntry[];
  readonly #hook: WebHook | undefined;
  readonly #links: WatchLinks;
  readonly #delays: FailureDelays;
  readonly #kicked = new Kicked();
  readonly #gate = new LogGate();
  /** Digests of credentials are of this process alone: they mean nothing elsewhere, and cannot be made by a client. */
  readonly #key = randomBytes(32);

  /** @throws AppError config.invalid */
  constructor(settings: AccessSettings, options: AccessOptions) {
    const { lan = false, webhookUrl } = settings;
    // It excuses a server that others reach from writing the mode out: it must never be the reason that it is open.
    if (lan && settings.mode === undefined) throw new AppError('config.invalid', 'access.lan has made no tokens.');
    const { mode = 'open' } = settings;
    const { policy, now = Date.now } = options;
    this.mode = mode;
    this.#settings = settings;
    this.#options = options;
    this.#now = now;
    this.#links = new WatchLinks(settings.linkSecret, settings.linkSeconds, now);
    this.#delays = new FailureDelays(settings.failureDelayMs);
    this.#entries = settings.tokens;
    if (mode === 'tokens') this.#verifier = this.#tokens = new StaticTokens(settings.tokens, now);
    if (mode === 'jwt') this.#verifier = new JwtTokens(settings, policy, { now });
    if (mode === 'webhook') {
      if (webhookUrl === undefined) throw new AppError('config.invalid', 'access.webhookUrl is not given.');
      this.#hook = new WebHook(webhookUrl, policy);
    }
  }

  /** For /debug/state; no names, credentials or addresses. */
  toJSON(): object {
    return { mode: this.mode, credentials: this.#entries.length, failedAddresses: this.#delays.addresses };
  }

  /**
   * Whether an action is permitted; nothing has been looked up by the name yet, so that a refusal says nothing about it.
   * @throws AppError request.unauthorized | request.forbidden | access.kicked | access.unavailable, a wrong credential's after a
   * delay; request.tooMany
   */
  async authorize(request: AccessRequest): Promise<Grant> {
    try {
      const { identity, endsAtMs } = await this.#decide(request);
      const { action, name, credential, address } = request;
      const renewable = identity?.renewable;
      const holder =
        credential === undefined ? undefined : this.#digest('holder', renewable ?? identity?.entry ?? credential);
      if (action === 'publish') this.#refuseKicked(name, holder);
      if (this.mode !== 'open' && LOGGED.includes(action)) {
        this.#options.log.info({ action, name, subject: identity?.subject, address }, 'access.granted');
      }
      return { holder, owner: renewable === undefined ? undefined : this.#digest('owner', renewable), endsAtMs };
    } catch (thrown) {
      throw await this.#refused(AppError.from(thrown), request);
    }
  }

  /**
   * For a list: whether an action is permitted for each of its names.
   * @throws AppError as authorize()
   */
  async permitted(request: AccessRequest): Promise<(name: string) => boolean> {
    const { action, credential, address, local = false } = request;
    // A hook answers about one name; who may do everything sees the whole list.
    const whole = this.#hook !== undefined || this.mode === 'open' || (local && this.#options.onLoopback);
    if (whole) {
      await this.authorize({ ...request, action: 'admin' });
      return () => true;
    }
    try {
      const identity = await this.#identity(credential);
      if (identity === undefined) throw noCredential();
      return (name) => allows(identity.rights, action, name);
    } catch (thrown) {
      throw await this.#refused(AppError.from(thrown), { action, name: '', credential, address });
    }
  }

  /**
   * A client that greets: which names its lists have.
   * @throws AppError request.unauthorized without a credential that permits anything, after a delay for a wrong one
   */
  async identify(credential: string | undefined, address: string): Promise<Sight> {
    if (this.mode === 'open') return EVERYTHING;
    try {
      if (this.#hook !== undefined && !(credential !== undefined && WatchLinks.fits(credential))) {
        // A hook answers about one name: the client's lists have those it was admitted to.
        return NOTHING;
      }
      const identity = await this.#identity(credential);
      if (identity === undefined && this.#settings.public.length === 0) throw noCredential();
      const { rights = NO_RIGHTS, expiresAtMs = Infinity, entry } = identity ?? {};
      const names = [...rights.watch, ...rights.publish];
      const holds = (): boolean => this.#now() < expiresAtMs && (entry === undefined || this.#has(entry));
      return {
        sees: (name) => covers(this.#settings.public, name) || ((rights.admin || covers(names, name)) && holds()),
        joins: this.#settings.public.length > 0 || names.length > 0,
      };
    } catch (thrown) {
      throw await this.#refused(AppError.from(thrown), { action: 'watch', name: '', credential, address });
    }
  }

  /** A token for the link to a broadcast; the caller has checked the right to publish it. */
  makeLink(name: string): Promise<{ readonly token: string; readonly expiresAtMs: number }> {
    return this.#links.make(name);
  }

  /** The name, and whoever held it, may not publish for these seconds. */
  kick(name: string, holder: string | undefined, seconds: number): void {
    this.#kicked.add(name, holder, this.#now() + seconds * 1000);
  }

  /**
   * Other tokens from now on, of a configuration that was read again.
   * @returns whether a session with this holder has lost its right thereby; never of one that was made without such a token
   * @throws AppError access.reload unless the mode is `tokens`
   */
  replaceTokens(
    entries: readonly TokenEntry[],
  ): (holder: string, action: 'publish' | 'watch', name: string) => boolean {
    const tokens = this.#tokens;
    if (tokens === undefined) {
      throw new AppError('access.reload', `access.mode is ${this.mode}: there are no tokens to read again.`, {
        remedy: 'Only access.mode tokens has tokens in the configuration.',
      });
    }
    const before = new Map(this.#entries.map(({ hash }) => [this.#digest('holder', hash), hash]));
    this.#entries = entries;
    tokens.replace(entries);
    return (holder, action, name) => {
      const hash = before.get(holder);
      if (hash === undefined || (action === 'watch' && covers(this.#settings.public, name))) return false;
      const identity = tokens.ofEntry(hash);
      return identity === undefined || !allows(identity.rights, action, name);
    };
  }

  #has(entry: string): boolean {
    return this.#tokens?.ofEntry(entry) !== undefined;
  }

  async #decide(request: AccessRequest): Promise<{ identity: Identity | undefined; endsAtMs: number | undefined }> {
    const { action, name, credential, local = false } = request;
    const free = { identity: undefined, endsAtMs: undefined };
    const operates = LOCAL_ACTIONS.includes(action);
    if (operates && local && (this.mode === 'open' || this.#options.onLoopback)) return free;
    if (this.mode === 'open') {
      if (operates) throw notLocal();
      return free;
    }
    if ((action === 'watch' || action === 'hls') && covers(this.#settings.public, name)) return free;
    if (this.#hook !== undefined && !(credential !== undefined && WatchLinks.fits(credential))) {
      const { lifetimeSeconds } = await this.#hook.ask(request);
      const endsAtMs = lifetimeSeconds === undefined ? undefined : this.#now() + lifetimeSeconds * 1000;
      return { identity: undefined, endsAtMs };
    }
    const identity = await this.#identity(credential);
    if (identity === undefined) throw noCredential();
    if (!allows(identity.rights, action, name)) throw lacksRight(action, name);
    return { identity, endsAtMs: this.#settings.endAtExpiry ? identity.expiresAtMs : undefined };
  }

  /** @returns undefined without a credential */
  async #identity(credential: string | undefined): Promise<Identity | undefined> {
    if (credential === undefined) return undefined;
    if (WatchLinks.fits(credential)) return this.#links.identify(credential);
    if (this.#verifier === undefined) throw notValid();
    return this.#verifier.identify(credential);
  }

  #refuseKicked(name: string, holder: string | undefined): void {
    const leftMs = this.#kicked.leftMs(name, holder, this.#now());
    if (leftMs > 0) throw kickedError(leftMs);
  }

  /** Holds the answer to a wrong credential back. What a credential lacks, and what a name lacks, take the same way. */
  async #refused(error: AppError, { action, name, credential, address }: AccessRequest): Promise<AppError> {
    if (this.#gate.open(error.code, performance.now())) {
      const reason = error.context['reason'];
      this.#options.log.warn({ code: error.code, action, name, address, reason }, 'access.refused');
    }
    const wrong = error.code === 'request.unauthorized' || error.code === 'request.forbidden';
    if (!wrong || credential === undefined) return error;
    const waitMs = this.#delays.enter(address, performance.now());
    if (waitMs === undefined) return new AppError('request.tooMany', 'Too many wrong credentials of one address.');
    try {
      if (waitMs > 0) await delay(waitMs);
    } finally {
      this.#delays.leave(address);
    }
    return error;
  }

  #digest(purpose: string, text: string): string {
    return createHmac('sha256', this.#key).update(`${purpose}\n${text}`).digest('base64url');
  }
}

/** What a publisher that was kicked is informed of. @param leftMs until it may publish again */
export function kickedError(leftMs: number): AppError {
  const seconds = Math.ceil(leftMs / 1000);
  return new AppError('access.kicked', `The operator has ended this broadcast; its name is closed for ${seconds} s.`);
}

function lacksRight(action: Action, name: string): AppError {
  const what = name === '' ? action : `${action} ${JSON.stringify(name)}`;
  return new AppError('request.forbidden', `The token does not give the right to ${what}.`, {
    remedy: 'Use a token that has the right, or ask for one.',
  });
}

function notLocal(): AppError {
  return new AppError('request.forbidden', 'This is open to programs on the server itself only.', {
    remedy:
      "Ask on the server's own machine, or let the operator set access.mode and give you a token (docs/access.md).",
  });
}
