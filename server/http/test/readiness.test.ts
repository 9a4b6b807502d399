import { expect, it } from 'vitest';
import { readinessOf } from '../readiness.ts';

it('is unready for draining and for the loss of every engine, and for nothing else', () => {
  const [works, lost] = [{ lost: false }, { lost: true }];
  expect(readinessOf(false, [])).toMatchObject({ ready: true });
  expect(readinessOf(false, [works])).toMatchObject({ ready: true });
  expect(readinessOf(false, [works, lost])).toMatchObject({ ready: true });
  expect(readinessOf(false, [lost, lost])).toEqual({ ready: false, reason: 'engine lost' });
  expect(readinessOf(true, [works])).toEqual({ ready: false, reason: 'draining' });
});
