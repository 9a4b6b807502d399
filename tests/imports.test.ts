import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { LIBRARIES, ROOMS, circlesIn, importsOf, nameProblemOf, problemOf, roomOf } from './import-law.ts';

/**
 * Imports that break the law and are known: `FROM imports TO`. It only ever gets shorter, and a line that is no longer true
 * must go.
 */
const KNOWN: readonly string[] = [];

const root = new URL('..', import.meta.url).pathname;
const tracked = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard'], { cwd: root })
  .toString()
  .trim()
  .split('\n')
  .filter((file) => existsSync(root + file));
const sources = tracked.filter((file) => /\.(ts|mts|mjs|js)$/.test(file));
const imports = sources.flatMap((file) => importsOf(file, readFileSync(root + file, 'utf8')));

describe('the law itself', () => {
  it('lets a room import only rooms further in, so that there is no way round', () => {
    const order = Object.keys(ROOMS);
    for (const [room, inner] of Object.entries(ROOMS)) {
      for (const other of inner)
        expect(order.indexOf(other), `${room} -> ${other}`).toBeGreaterThan(order.indexOf(room));
    }
  });

  it.each([
    ['server/broadcast/broadcast.ts', '../signaling/protocol.ts', 'broadcast may not import signaling'],
    ['server/codec/decoder.ts', '../upscalers/upscaler.ts', 'codec may not import upscalers'],
    ['server/signaling/server.ts', '../http/server.ts', 'signaling may not import http'],
    ['server/rtc/srtp.ts', '../pipeline/messages.ts', 'rtc may not import pipeline'],
    ['server/broadcast/viewer.ts', '../rtc/srtp.ts', 'broadcast sees only'],
    ['server/upscalers/onnx/stream.ts', '../resize/upscaler.ts', 'kinds do not know each other'],
    ['server/pipeline/core.ts', 'werift', 'werift is imported by'],
    ['server/cli/upscale.ts', 'node-av/lib', 'node-av is imported by'],
    ['server/app.ts', '../testing/clip.ts', 'product code imports no test code'],
    ['server/pipeline/test/pace.test.ts', '../../codec/test/pictures.ts', 'lies in testing/'],
    ['client-demo/assets/page.js', '../../server/media/rtp.ts', 'client-demo/ does not import server/'],
    ['testing/clip.ts', '../tests/imports.test.ts', 'testing/ does not import tests/'],
    ['scripts/check.ts', '../server/app.ts', 'scripts/ does not import server/'],
    ['server/attic/old.ts', '../errors.ts', 'no room of the table'],
  ])('%s importing %s: %s', (from, specifier, problem) => {
    const planted = importsOf(from, `import { x } from '${specifier}';`);
    expect(planted.map(problemOf).join()).toContain(problem);
  });

  it('sees dynamic imports, exports, types and JSDoc', () => {
    const text = "export * from './a.ts'; type T = import('./b.ts').T; const c = await import('./c.ts');";
    expect(importsOf('server/x.ts', text).map(({ to }) => to)).toEqual(['server/a.ts', 'server/b.ts', 'server/c.ts']);
    const jsDoc = "/** @typedef {import('../server/signaling/protocol.ts').Hello} Hello */";
    expect(importsOf('client-demo/x.js', jsDoc)).toEqual([
      { from: 'client-demo/x.js', to: 'server/signaling/protocol.ts' },
    ]);
  });

  it('sees a circle', () => {
    const circle = [
      { from: 'a', to: 'b' },
      { from: 'b', to: 'c' },
      { from: 'c', to: 'b' },
    ];
    expect(circlesIn(circle)).toEqual(['b -> c -> b']);
  });

  it('names files by language and place', () => {
    expect(nameProblemOf('server/media/frame_rate.ts')).toContain('kebab-case');
    expect(nameProblemOf('server/media/rtp.test.ts')).toContain("in its room's test/");
    expect(nameProblemOf('server/rtc/tests/srtp.test.ts')).toContain('called test/');
    expect(nameProblemOf('native/engine/kvCache.h')).toContain('snake_case');
    expect(nameProblemOf('server/media/test/rtp.test.ts')).toBeUndefined();
  });
});

describe('the tree', () => {
  it('has no import that breaks the law', () => {
    expect(imports.length).toBeGreaterThan(1000);
    const problems = imports.flatMap((each) => {
      const problem = problemOf(each);
      return problem === undefined || KNOWN.includes(`${each.from} imports ${each.to}`) ? [] : [problem];
    });
    expect(problems).toEqual([]);
  });

  it('keeps no exception that is not needed', () => {
    const broken = imports
      .filter((each) => problemOf(each) !== undefined)
      .map(({ from, to }) => `${from} imports ${to}`);
    expect(KNOWN.filter((line) => !broken.includes(line))).toEqual([]);
  });

  it('has no circle of files', () => {
    expect(circlesIn(imports.filter(({ to }) => sources.includes(to)))).toEqual([]);
  });

  it('has an importer for every library of the table, and a room for every file of server/', () => {
    for (const library of Object.keys(LIBRARIES)) {
      expect(
        imports.some(({ to }) => to === library || to.startsWith(`${library}/`)),
        library,
      ).toBe(true);
    }
    const rooms = sources.filter((file) => file.startsWith('server/') && !/\/test\//.test(file));
    expect(rooms.filter((file) => roomOf(file) === undefined)).toEqual([]);
  });

  it('names its files by the rule of their language', () => {
    // Moves with the other native tests.
    const files = tracked.filter((file) => file !== 'native/tests/native.it.test.ts');
    expect(files.flatMap((file) => nameProblemOf(file) ?? [])).toEqual([]);
  });
});
