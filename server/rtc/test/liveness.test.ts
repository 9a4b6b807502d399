import { describe, expect, it } from 'vitest';
import { Liveness } from '../liveness.ts';

const S = 1_000_000;

/** Ticks every 10 ms, as the stack does. */
function run(liveness: Liveness, fromS: number, toS: number): void {
  for (let at = fromS * S; at < toS * S; at += 10_000) liveness.tick(at);
}

describe('Liveness', () => {
  it('calls a peer silent after 8 s and gone after 20 s', () => {
    const liveness = new Liveness(0);
    run(liveness, 0, 8);
    expect(liveness.state(8 * S)).toBe('alive');
    run(liveness, 8, 9);
    expect(liveness.state(9 * S)).toBe('silent');
    liveness.heard(9 * S);
    expect(liveness.state(9 * S)).toBe('alive');
    run(liveness, 9, 30);
    expect(liveness.state(29 * S)).toBe('silent');
    expect(liveness.state(30 * S)).toBe('gone');
  });

  it('does not count the time in which the process was stopped', () => {
    const liveness = new Liveness(0);
    run(liveness, 0, 3);
    expect(liveness.tick(28 * S)).toBe(25 * S + 10_000);
    expect(liveness.state(28 * S)).toBe('alive');
    run(liveness, 28, 50); // nothing comes after it either
    expect(liveness.state(50 * S)).toBe('gone');
  });

  it('does not go back when an older packet is read late', () => {
    const liveness = new Liveness(10 * S);
    liveness.heard(2 * S);
    expect(liveness.state(11 * S)).toBe('alive');
  });
});
