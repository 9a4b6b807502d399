import { defineConfig } from 'vitest/config';

// Limits for what hangs, not for what is slow: a busy machine may take ten times as long.
const common = {
  pool: 'forks' as const,
  globalSetup: 'testing/unpack-golden.ts',
  testTimeout: 120_000,
  hookTimeout: 120_000,
  expect: { poll: { timeout: 60_000 } },
};
const roots = ['server', 'bench', 'client-demo', 'native', 'models', 'scripts', 'testing', 'tests'];
const files = (ending: string) => roots.map((root) => `${root}/**/*.${ending}`);

/**
 * Pictures at the camera's rate through decoder, scaler and encoder, or processor time measured: each of these files has the machine to
 * itself, which may have two cores. Every other file waits for states and runs beside others.
 */
const REAL_TIME = [
  'server/pipeline/**/*.it.test.ts',
  'server/rtc/test/{peers,libwebrtc}.it.test.ts',
  'tests/*.it.test.ts',
  'tests/interop/*.it.test.ts',
  'tests/security/{media,flap,stopping}.it.test.ts',
];
const ATTACKS = ['tests/security/*.it.test.ts'];

// Groups run one after the other.
const group = (groupOrder: number, maxWorkers: number) => ({ maxWorkers, sequence: { groupOrder } });

// `.ci/run` calls `npm test` and `npm run check` of one commit: what the first has run, the second need not.
const alreadyRun = (process.env['FLASHVSR_ALREADY_RUN'] ?? '').split(' ').filter((name) => name !== '');
if (alreadyRun.length > 0) console.log(`not again (FLASHVSR_ALREADY_RUN): ${alreadyRun.join(', ')}`);

const projects = [
  {
    test: {
      ...common,
      name: 'unit',
      include: files('test.ts'),
      exclude: ['**/node_modules/**', '**/*.it.test.ts', '**/*.browser.test.ts'],
    },
  },
  // Sockets, worker threads, processes, the native addon.
  {
    test: {
      ...common,
      ...group(1, 3),
      name: 'integration',
      include: files('it.test.ts'),
      exclude: ['**/node_modules/**', 'native/**', ...REAL_TIME, ...ATTACKS],
    },
  },
  // Attacks on a running server; most of their time is waiting. Not part of `npm test`.
  {
    test: {
      ...common,
      ...group(1, 3),
      name: 'attacks',
      include: ATTACKS,
      exclude: REAL_TIME,
    },
  },
  {
    test: {
      ...common,
      ...group(2, 1),
      name: 'real-time',
      include: REAL_TIME,
    },
  },
  // A real Chromium; `npm run check` fails when it is missing.
  {
    test: {
      ...common,
      ...group(3, 1),
      name: 'browser',
      include: files('browser.test.ts'),
    },
  },
  // A build of native/ from a fresh folder and its own tests: minutes on two cores. Not part of `npm test`.
  {
    test: {
      ...common,
      ...group(4, 1),
      name: 'native',
      include: ['native/**/*.it.test.ts'],
    },
  },
];

export default defineConfig({
  test: { projects: projects.filter(({ test }) => !alreadyRun.includes(test.name)) },
});
