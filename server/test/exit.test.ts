import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { leaveAfter } from '../exit.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

describe('leaveAfter', () => {
  it('leaves once when closing is done, also when closing fails', async () => {
    for (const close of [async () => {}, () => Promise.reject(new Error('stuck worker'))]) {
      const leave = vi.fn();
      leaveAfter(close(), { code: 70, mostMs: 5000, leave });
      await vi.advanceTimersByTimeAsync(0);
      expect(leave.mock.calls).toEqual([[70]]);
      await vi.advanceTimersByTimeAsync(10_000);
      expect(leave).toHaveBeenCalledTimes(1);
    }
  });

  it('leaves after the time allowed when closing never ends', async () => {
    const leave = vi.fn();
    leaveAfter(new Promise(() => {}), { code: 70, mostMs: 5000, leave });
    await vi.advanceTimersByTimeAsync(4999);
    expect(leave).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(1);
    expect(leave.mock.calls).toEqual([[70]]);
  });
});
