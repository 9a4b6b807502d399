import { expect, it } from 'vitest';
import { ROWS, rowOutcomes, type TestOutcome } from '../rows.ts';

const test = (name: string, status: TestOutcome['status'] = 'passed'): TestOutcome => ({
  name: `server/cli/test/files/${name}`,
  status,
});

it('a row passes with all of its tests, fails with one of them, and is named where it has none', () => {
  const outcomes = rowOutcomes(ROWS, [
    test('colour.it.test.ts A bt709 with sound first: its own tags, and the same red'),
    test('colour.it.test.ts C the sample aspect of a .vob is kept'),
    test('colour.it.test.ts C the sample aspect of a .ts is kept', 'failed'),
    test('clock.it.test.ts D joined: the timeline goes on', 'skipped'),
    test('chapters.it.test.ts of an address they are kept, too'),
    test('tracks.it.test.ts J sound that the container does not take adpcm_ima_qt to .mkv: pcm_s16le'),
  ]);
  const found = Object.fromEntries(outcomes.map(({ letter, status, passed }) => [letter, `${status} ${passed}`]));
  expect(found).toMatchObject({ A: 'pass 1', B: 'none 0', C: 'FAIL 1', D: 'none 0', I: 'pass 1', J: 'pass 1' });
  expect(outcomes.find(({ letter }) => letter === 'C')?.failed).toEqual([
    'server/cli/test/files/colour.it.test.ts C the sample aspect of a .ts is kept',
  ]);
});
