import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createProgress, createStepProgress } from '../progress.ts';

let written: string[];
const pipe = { isTTY: false, write: (text: string) => written.push(text) } as unknown as NodeJS.WriteStream;
beforeEach(() => {
  written = [];
  vi.useFakeTimers({ toFake: ['performance'] });
});
afterEach(() => vi.useRealTimers());

describe('progress into a pipe', () => {
  it('writes a line every five seconds and one at the end', () => {
    const progress = createProgress({ total: 100, unit: 'frames', stream: pipe });
    for (let second = 1; second <= 10; second += 1) {
      vi.advanceTimersByTime(1000);
      progress.update(second * 8);
    }
    progress.finish(90);
    expect(written).toEqual([
      '40 of 100 (40 %) frames, 8.0 frames/s, 8 s left\n',
      '80 of 100 (80 %) frames, 8.0 frames/s, 3 s left\n',
      '90 of 90 (100 %) frames, 9.0 frames/s\n',
    ]);
  });

  it('counts the rate from what was there before', () => {
    const progress = createProgress({ total: 100, unit: 'frames', stream: pipe });
    vi.advanceTimersByTime(2000);
    progress.kept(50, 50);
    vi.advanceTimersByTime(5000);
    progress.update(60);
    expect(written).toEqual(['60 of 100 (60 %) frames, 2.0 frames/s, 20 s left\n']);
  });

  it('adds a note that follows the share done', () => {
    const note = (share: number): string => `; ${share}`;
    const progress = createProgress({ title: '[1/2] a', total: 100, unit: 'frames', stream: pipe, note });
    vi.advanceTimersByTime(5000);
    progress.update(25);
    progress.finish(90);
    expect(written).toEqual([
      '[1/2] a: 25 of 100 (25 %) frames, 5.0 frames/s, 15 s left; 0.25\n',
      '[1/2] a: 90 of 90 (100 %) frames, 18.0 frames/s; 1\n',
    ]);
  });

  it('names the steps of getting a model, each with its own total, and leaves short ones out', () => {
    const { report, stop } = createStepProgress(pipe);
    report('download', 0, 10 * 2 ** 20);
    vi.advanceTimersByTime(5000);
    report('download', 5 * 2 ** 20, 10 * 2 ** 20);
    report('unpack', 1, 2);
    vi.advanceTimersByTime(5000);
    report('download', 10 * 2 ** 20, 10 * 2 ** 20);
    report('hash', 2 ** 20, 2 ** 20);
    stop();
    expect(written.map((line) => line.replace(/, .*/s, ''))).toEqual([
      'Downloading: 5 of 10 (50 %) MiB',
      'Downloading: 10 of 10 (100 %) MiB',
      'Downloading: 10 of 10 (100 %) MiB',
      'Hashing: 1 of 1 (100 %) MiB',
    ]);
  });
});
