import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';

/**
 * The directions of the C++ and CUDA code (docs/architecture.md): addon -> engine -> backend -> kernels -> CUDA. A room is
 * a folder; what it may include besides itself stands here, and nothing else passes.
 */
const ROOMS: Readonly<Record<string, readonly string[]>> = {
  // The launchers' headers; plain C++ but for the CUDA runtime's types.
  kernels: [],
  'kernels/common': ['kernels'],
  'kernels/smxx': ['kernels', 'kernels/common'],
  'kernels/sm90': ['kernels', 'kernels/common'],
  'kernels/dispatch': ['kernels', 'kernels/common', 'kernels/smxx', 'kernels/sm90'],
  'native/common': [],
  'native/weights': ['native/common'],
  'native/backend': ['native/common', 'native/weights'],
  'native/backend/reference': ['native/backend', 'native/common', 'native/weights'],
  'native/backend/cuda': ['native/backend', 'native/backend/reference', 'native/common', 'native/weights', 'kernels'],
  'native/engine': ['native/backend', 'native/backend/reference', 'native/common', 'native/weights'],
  'native/addon': ['native/engine', 'native/weights', 'native/common'],
  'native/tools': ['native/engine', 'native/backend', 'native/backend/reference', 'native/weights', 'native/common'],
  // Nothing includes these, so they may look further: a kernel's test compares it with its twin in the reference backend,
  // the kernels' benchmark with the vendor's product.
  'kernels/test': [
    'kernels',
    'kernels/sm90',
    'kernels/dispatch',
    'native/test',
    'native/backend',
    'native/backend/reference',
    'native/weights',
    'native/common',
  ],
  'kernels/bench': ['kernels', 'kernels/sm90', 'kernels/dispatch', 'native/backend/cuda'],
  'native/backend/cuda/paper': [
    'native/backend/cuda',
    'native/backend',
    'native/engine',
    'native/weights',
    'native/common',
    'native/tools',
    'kernels',
    'kernels/common',
  ],
  'native/backend/cuda/test': [
    'native/test',
    'native/backend/cuda',
    'native/backend',
    'native/engine',
    'native/weights',
    'native/common',
    'kernels',
  ],
  'native/weights/test': ['native/test', 'native/weights', 'native/common'],
  'native/weights/fuzz': ['native/weights', 'native/weights/test', 'native/common'],
  'native/test': [
    'native/tools',
    'native/engine',
    'native/backend',
    'native/backend/reference',
    'native/weights',
    'native/common',
  ],
};

/** Single headers that are open to more rooms than their own is. */
const OPEN: Readonly<Record<string, readonly string[]>> = {
  // The generator's bits are the same on every backend, so both sides take them from one plain header.
  'kernels/common/philox.h': ['native/backend/reference', 'native/engine', 'native/test'],
};

const root = new URL('..', import.meta.url).pathname;
const files = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', 'native', 'kernels'], {
  cwd: root,
})
  .toString()
  .split('\n')
  .filter((file) => /\.(h|cuh|cpp|cu)$/.test(file));
const known = new Set(files);

function roomOf(file: string): string {
  for (let folder = path.posix.dirname(file); folder !== '.'; folder = path.posix.dirname(folder))
    if (folder in ROOMS) return folder;
  throw new Error(`${file} lies in no room: add its folder to ROOMS in tests/native-includes.test.ts`);
}

/** What `file`, which may include `including`, does wrong; undefined when nothing. */
function problem(file: string, spelled: string): string | undefined {
  const included = spelled.startsWith('kernels/') ? spelled : `native/${spelled}`;
  if (!known.has(included))
    return `${file}: "${spelled}" is no full path (from the root for kernels/, from native/ else)`;
  const from = roomOf(file);
  const to = roomOf(included);
  if (from === to || ROOMS[from]?.includes(to) || OPEN[included]?.includes(from)) return undefined;
  return `${file}: ${from} must not include ${included}`;
}

function quotedIncludes(file: string): string[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  return [...text.matchAll(/^\s*#\s*include\s*"([^"]+)"/gm)].map(([, spelled]) => spelled ?? '');
}

it('native and kernels include in one direction only, by full path', () => {
  expect(files.length).toBeGreaterThan(150);
  const includes = files.flatMap((file) => quotedIncludes(file).map((spelled) => problem(file, spelled)));
  expect(includes.length).toBeGreaterThan(300);
  expect(includes.filter((found) => found !== undefined)).toEqual([]);
});

it('a wrong include is found', () => {
  expect(problem('native/backend/backend.h', 'engine/engine.h')).toContain('must not include');
  expect(problem('native/engine/engine.h', 'addon/frame.h')).toContain('must not include');
  expect(problem('native/engine/network.cpp', 'kernels/attention.h')).toContain('must not include');
  expect(problem('kernels/attention.h', 'common/error.h')).toContain('must not include');
  expect(problem('native/backend/cuda/executor.cpp', 'kernels/common/mma.cuh')).toContain('must not include');
  expect(problem('kernels/smxx/gemm.cuh', 'kernels/sm90/gemm_sm90.h')).toContain('must not include');
  expect(problem('kernels/sm90/gemm.cu', 'kernels/dispatch/gemm.h')).toContain('must not include');
  expect(problem('kernels/smxx/norm.cu', 'warp_row.cuh')).toContain('no full path');
});

it('no two headers share a name', () => {
  const names = files.filter((file) => /\.c?u?h$/.test(file)).map((file) => path.posix.basename(file));
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});
