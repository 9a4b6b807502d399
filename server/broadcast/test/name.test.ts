import { describe, expect, it } from 'vitest';
import { broadcastName, namePath, roomOf } from '../name.ts';

const messageOf = (name: unknown): string | undefined => broadcastName.safeParse(name).error?.issues[0]?.message;

describe('a broadcast’s name', () => {
  it.each(['a', 'stage-1.a', 'A_b.c-9', 'x'.repeat(64), 'room/anna', `${'r'.repeat(64)}/${'p'.repeat(64)}`])(
    'may be %s',
    (name) => {
      expect(messageOf(name)).toBeUndefined();
    },
  );

  it.each([
    ['', 'letters, digits'],
    ['two words', 'letters, digits'],
    ['.hidden', 'letters, digits'],
    ['..', 'letters, digits'],
    ['room/..', 'letters, digits'],
    ['/anna', 'letters, digits'],
    ['room/', 'letters, digits'],
    ['a/b/c', 'at most one slash'],
    ['x'.repeat(65), 'at most 64'],
    [`room/${'x'.repeat(65)}`, 'at most 64'],
    ['ｓtage', 'letters, digits'],
    ['stage\n', 'letters, digits'],
    ['a%2Fb', 'letters, digits'],
    [7, 'expected string'],
  ])('may not be %j: %s', (name, problem) => {
    expect(messageOf(name)).toContain(problem);
  });

  it('knows its room and its path', () => {
    expect([roomOf('room/anna'), roomOf('stage')]).toEqual(['room', undefined]);
    expect(namePath('room/anna')).toBe('room/anna');
  });
});
