import { defineConfig } from 'vitest/config';

const common = { pool: 'forks' as const, testTimeout: 20_000, hookTimeout: 30_000 };
const roots = ['server', 'bench', 'client-demo', 'native', 'models', 'scripts', 'testing', 'tests'];
const files = (ending: string) => roots.map((root) => `${root}/**/*.${ending}`);

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          ...common,
          name: 'unit',
          include: files('test.ts'),
          exclude: ['**/node_modules/**', '**/*.it.test.ts', '**/*.browser.test.ts'],
        },
      },
      // Sockets, worker threads, native addon: one file at a time, the machine may have two cores.
      {
        test: {
          ...common,
          name: 'integration',
          include: files('it.test.ts'),
          fileParallelism: false,
          testTimeout: 60_000,
        },
      },
      // A real Chromium; `npm run check` fails when it is missing.
      {
        test: {
          ...common,
          name: 'browser',
          include: files('browser.test.ts'),
          fileParallelism: false,
          testTimeout: 120_000,
        },
      },
    ],
  },
});
