import { expect, it } from 'vitest';
import { TargetPolicy } from '../../access/target-policy.ts';
import { WhipRelay } from '../whip-relay.ts';

const NOTHING = (): void => undefined;

/** What ends a relay before its first request. */
it.each([
  ['a name that cannot be looked up now, by the backoff', 'https://far.example/whip', 'target.unreachable', 0],
  ['an address that is not permitted, once a minute', 'https://10.0.0.1/whip', 'target.refused', 60_000],
])('tries %s', async (_case, url, code, retryAfterMs) => {
  const policy = new TargetPolicy({ allow: [] }, () => Promise.reject(new Error('SERVFAIL')));
  const createTarget = (): never => {
    throw new Error('nothing to connect to');
  };
  const failed = await new Promise((resolve) => {
    new WhipRelay(
      {
        ...{ id: 'a', name: 'origin', url, bearer: undefined, track: 'result', policy, rtc: { createTarget } },
        broadcast: {
          outputSize: { width: 640, height: 360 },
          sourceCodec: 'H264',
          sourceReordered: false,
          sourcePacketized: true,
        },
        ...{ interfaceAddresses: [], log: { info: NOTHING } },
      },
      { started: NOTHING, interrupted: NOTHING, requestKeyframe: NOTHING, dropped: NOTHING, ended: NOTHING },
      { running: NOTHING, failed: (error, retryMs) => resolve([error.code, retryMs]) },
    );
  });
  expect(failed).toEqual([code, retryAfterMs]);
});
