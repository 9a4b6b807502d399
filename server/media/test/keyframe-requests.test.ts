import { describe, expect, it } from 'vitest';
import { KeyframeRequests } from '../keyframe-requests.ts';

const MS = 1000;

describe('KeyframeRequests', () => {
  it('merges requests within the interval into one at its end, unless a keyframe came', () => {
    const requests = new KeyframeRequests(500);
    expect(requests.request(0)).toBe(true);
    expect(requests.request(100 * MS)).toBe(false);
    expect(requests.request(200 * MS)).toBe(false);
    expect(requests.poll(499 * MS)).toBe(false);
    expect(requests.poll(500 * MS)).toBe(true);
    expect(requests.poll(2000 * MS)).toBe(false);
    expect(requests.request(2000 * MS)).toBe(true);
    requests.request(2100 * MS);
    requests.satisfied();
    expect(requests.poll(3000 * MS)).toBe(false);
  });
});
