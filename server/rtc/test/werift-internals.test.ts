import { readFileSync } from 'node:fs';
import { TurnProtocol } from 'werift';
import { describe, expect, it } from 'vitest';
import { WERIFT_VERSION } from '../werift-internals.ts';

describe('private members of werift that server/rtc uses', () => {
  it('are those of the pinned version', () => {
    const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
      dependencies: Readonly<Record<string, string>>;
    };
    expect(dependencies['werift']).toBe(WERIFT_VERSION);
  });

  it('TurnProtocol has a channelRefreshTime in seconds', () => {
    const turn = new TurnProtocol(['127.0.0.1', 3478], 'u', 'p', 600, undefined as never);
    expect(Reflect.get(turn, 'channelRefreshTime')).toBe(500);
  });
});
