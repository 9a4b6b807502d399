import { execFile, spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test as always } from 'vitest';

// The native tests need no Node; this runs them with everything else. The build is kept in build/native.

// Without a compiler there is nothing to build; `npm run check` and CI (FLASHVSR_REQUIRE_ADDON=1) fail then.
const HAVE_COMPILER = ['cmake', 'c++'].every((tool) => spawnSync(tool, ['--version']).status === 0);
const test = always.skipIf(!HAVE_COMPILER && process.env['FLASHVSR_REQUIRE_ADDON'] !== '1');

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));
const build = path.join(root, 'build', 'native');
const minutes = (count: number): number => count * 60_000;

async function output(command: string, args: readonly string[]): Promise<string> {
  try {
    const { stdout } = await run(command, args, { cwd: root, maxBuffer: 64 << 20 });
    return stdout;
  } catch (thrown) {
    // What the program said is the message; execFile's own is only "Command failed".
    const { stdout = '', stderr = '', message } = thrown as Error & { stdout?: string; stderr?: string };
    throw new Error(`${message}\n${stdout.slice(-8000)}\n${stderr.slice(-4000)}`, { cause: thrown });
  }
}

test(
  'the native code builds from a fresh folder with CMake and a C++20 compiler alone',
  async () => {
    mkdirSync(build, { recursive: true });
    await output('cmake', ['-S', 'native', '-B', build, '-DFLASHVSR_WERROR=ON']);
    await output('cmake', ['--build', build, '--parallel', String(Math.min(availableParallelism(), 4))]);
  },
  minutes(15),
);

test(
  'engine: operations, streams, life cycle, recording',
  async () => {
    expect(await output(path.join(build, 'test', 'flashvsr_tests'), [])).toMatch(/\n[1-9]\d* run, 0 failed\n$/);
  },
  minutes(10),
);

test(
  'parity: the reference backend meets every tensor of the committed goldens',
  async () => {
    const text = await output(path.join(build, 'tools', 'flashvsr_parity'), ['testdata/golden']);
    expect(text).toMatch(/\n[1-9]\d* cases, [1-9]\d* comparisons, 0 failed: ok\n$/);
  },
  minutes(5),
);
