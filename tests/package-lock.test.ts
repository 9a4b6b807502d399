import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

interface Lock {
  readonly packages: Readonly<Record<string, { readonly hasInstallScript?: boolean }>>;
}

const read = (file: string): unknown => JSON.parse(readFileSync(new URL(`../${file}`, import.meta.url), 'utf8'));

/**
 * onnxruntime-node's install script downloads CUDA libraries, some hundred megabytes, which nothing here uses. npm 11 asks `allowScripts`;
 * npm 10 runs what the lock file says has a script, so that the lock file does not say it of this package. Its own setting in .npmrc would do
 * as well, but npm 11 warns of a setting that it does not know at every command.
 */
it('no npm runs the install script of onnxruntime-node', () => {
  const { packages } = read('package-lock.json') as Lock;
  const entries = Object.entries(packages).filter(([name]) => name.endsWith('node_modules/onnxruntime-node'));
  expect(entries.length).toBeGreaterThan(0);
  for (const [name, { hasInstallScript }] of entries)
    expect(hasInstallScript, `package-lock.json: remove "hasInstallScript" of ${name}`).toBeUndefined();
  expect(read('package.json')).toMatchObject({ allowScripts: { 'onnxruntime-node': false } });
});
