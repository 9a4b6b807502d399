import { createHmac } from 'node:crypto';
import type { IceServer, IceServerSetting } from '../../config/sections/ice.ts';

/** As the draft behind coturn's `use-auth-secret` proposes: a day, which outlives most sessions' ICE restarts. */
const LIFETIME_SECONDS = 86_400;

/**
 * Credentials that end by themselves (draft-uberti-behave-turn-rest-00 section 2.2): the user name is the time they end, in
 * seconds since 1970, and `:id` where one is configured; the password its HMAC-SHA1 under the secret shared with the TURN
 * server. An allocation that they made goes on after their end.
 */
function temporaryCredentials(
  secret: string,
  { endsAtMs, id }: { readonly endsAtMs: number; readonly id?: string | undefined },
): { readonly username: string; readonly credential: string } {
  const expiry = Math.floor(endsAtMs / 1000);
  const username = id === undefined ? String(expiry) : `${expiry}:${id}`;
  return { username, credential: createHmac('sha1', secret).update(username).digest('base64') };
}

/** What peers get at this moment; secrets stay here. */
export function currentIceServers(servers: readonly IceServerSetting[], nowMs = Date.now()): readonly IceServer[] {
  return servers.map(({ urls, username, credential, secret, lifetimeSeconds = LIFETIME_SECONDS }) => {
    if (secret !== undefined) {
      return { urls, ...temporaryCredentials(secret, { endsAtMs: nowMs + 1000 * lifetimeSeconds, id: username }) };
    }
    return {
      urls,
      ...(username === undefined ? {} : { username }),
      ...(credential === undefined ? {} : { credential }),
    };
  });
}
