import { execFileSync } from 'node:child_process';
import { expect, it } from 'vitest';

/** Rules over C++ (docs/architecture.md); those over TypeScript are in imports.test.ts. */
const root = new URL('..', import.meta.url).pathname;

/** Files under `where` whose text matches; empty when none does. */
function filesWith(pattern: string, where: readonly string[]): string[] {
  try {
    const found = execFileSync('grep', ['-rlE', '--exclude-dir=node_modules', pattern, ...where], { cwd: root });
    return found.toString().trim().split('\n');
  } catch {
    return [];
  }
}

it('napi.h is included in native/addon only', () => {
  const files = filesWith('#include *[<"](napi|node_api)\\.h', ['native', 'kernels']);
  expect(files.length).toBeGreaterThan(0);
  expect(files.filter((file) => !file.startsWith('native/addon/'))).toEqual([]);
});

it('CUDA headers are included in kernels and native/backend/cuda only', () => {
  const files = filesWith('#include *<(cuda|cublas|cudnn)[a-zA-Z_]*\\.h', ['native', 'kernels']);
  expect(files.length).toBeGreaterThan(0);
  expect(files.filter((file) => !/^(kernels|native\/backend\/cuda)\//.test(file))).toEqual([]);
});
