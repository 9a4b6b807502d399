import { expect, it } from 'vitest';
import { TargetPolicy } from '../../access/target-policy.ts';
import { postOffer } from '../whip-client.ts';

/** When a POST that was never sent makes sense again. */

it.each([
  ['an address that is not permitted: the operator has to act', 'http://192.168.1.20/whip', 'target.refused', 60_000],
  ['a name without an address: the resolver may be back soon', 'http://far.example/whip', 'target.unreachable', 0],
])('%s', async (_case, url, code, retryAfterMs) => {
  const policy = new TargetPolicy({ allow: [] }, () => Promise.reject(new Error('SERVFAIL')));
  await expect(postOffer({ url, offer: 'v=0', policy })).rejects.toMatchObject({ error: { code }, retryAfterMs });
});
