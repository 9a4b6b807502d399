import { describe, expect, it } from 'vitest';
import { inputOf, resultOf } from '../file-names.ts';
import { claimResult } from '../result-pictures.ts';
import { checkStandardStreams } from '../upscale.ts';

const never = (): boolean => false;
const check =
  (inputs: string[], output: string, format?: 'nut', isTerminal: (fd: number) => boolean = never) =>
  () =>
    checkStandardStreams(inputs, output, { format }, isTerminal);

describe('- as a name', () => {
  it('stands alone, and for films', () => {
    expect(check(['-'], 'out.mp4')).not.toThrow();
    expect(check(['-'], '-', 'nut')).not.toThrow();
    expect(check(['in.mp4'], '-')).not.toThrow();
    expect(check(['-', 'b.mp4'], 'out/')).toThrow('- (standard input) cannot be one of several inputs.');
    expect(check(['a.mp4', 'b.mp4'], '-')).toThrow('2 inputs cannot become one stream.');
    expect(check(['-'], 'out/')).toThrow('The result in out/ has no name.');
    expect(check(['a.mp4'], 'b.mp4', 'nut')).toThrow(/--format nut is for standard output; b\.mp4 has its format/);
  });

  it('is refused for a terminal', () => {
    expect(check(['-'], '-', undefined, (fd) => fd === 0)).toThrow('Standard input is a terminal, not a film.');
    expect(check(['-'], '-', undefined, (fd) => fd === 1)).toThrow('Standard output is a terminal');
    expect(check(['a.mp4'], 'b.mp4', undefined, () => true)).not.toThrow();
  });

  it('is no file: nothing is claimed or removed', () => {
    const input = inputOf('-');
    expect(input).toEqual({ kind: 'file', file: '-' });
    expect(resultOf('-', input)).toEqual({ kind: 'film', file: '-' });
    const claimed = claimResult('-', '-', { overwrite: false });
    expect(claimed.part).toBe('-');
    claimed.publish();
    claimed.discard();
  });
});
