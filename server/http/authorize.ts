import type { FastifyRequest } from 'fastify';
import type { Access, AccessRequest, Grant } from '../access/access.ts';
import { bearerOf } from '../access/bearer.ts';
import { addressOf, isLocalRequest } from '../access/local-peer.ts';
import type { Action } from '../access/rights.ts';
import type { Config } from '../config/config.ts';

const MAX_AGENT_CHARACTERS = 200;

/** The rights of HTTP requests: credential, address and machine of a request, for the one decision in access/. */
export class HttpAccess {
  readonly #access: Access;
  readonly #trustProxy: Config['http']['trustProxy'];
  readonly #localRights: boolean;

  constructor(access: Access, http: Pick<Config['http'], 'trustProxy' | 'localRights'>) {
    this.#access = access;
    this.#trustProxy = http.trustProxy;
    this.#localRights = hasLocalRights(http);
  }

  /**
   * @param name of the broadcast; empty for an action without one
   * @param credential of another place than the Authorization field, which is read without it
   * @throws AppError as Access.authorize(), and request.malformed
   */
  async authorize(request: FastifyRequest, action: Action, name = '', credential?: string): Promise<Grant> {
    return this.#access.authorize({ ...this.#of(request, credential), action, name });
  }

  /** For a list. @returns whether the action is permitted for a name. @throws AppError as authorize() */
  async permitted(request: FastifyRequest, action: Action): Promise<(name: string) => boolean> {
    return this.#access.permitted({ ...this.#of(request), action, name: '' });
  }

  #of({ raw }: FastifyRequest, credential?: string): Omit<AccessRequest, 'action' | 'name'> {
    const { authorization, 'user-agent': userAgent } = raw.headers;
    return {
      credential: credential ?? bearerOf(authorization),
      address: addressOf(raw, this.#trustProxy),
      local: this.#localRights && isLocalRequest(raw),
      userAgent: userAgent?.slice(0, MAX_AGENT_CHARACTERS),
    };
  }
}

/**
 * Whether requests of this machine's programs are worth more than others'. A proxy on the same machine that adds no header looks like
 * one of them, so that a server behind a proxy has no such programs unless the operator says so.
 */
function hasLocalRights({ trustProxy, localRights }: Pick<Config['http'], 'trustProxy' | 'localRights'>): boolean {
  return localRights === 'auto' ? trustProxy === false : localRights;
}
