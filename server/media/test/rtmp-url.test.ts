import { expect, it } from 'vitest';
import { rtmpTcUrl } from '../rtmp-url.ts';

it.each([
  ['/live/key', 'live'],
  ['/live/', 'live'],
  ['/live', 'live'],
  ['/app/instance/key', 'app/instance'],
  ['/app/instance/key/part', 'app/instance'],
  ['/vod/mp4:films/one', 'vod'],
  ['/ondemand/films/one', 'ondemand'],
  ['', ''],
])('%s: the application is "%s"', (path, application) => {
  expect(rtmpTcUrl(new URL(`rtmps://user:secret@host.example:1936${path}?key=secret`))).toBe(
    `rtmps://host.example:1936/${application}`,
  );
});
