import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { builtinModules } from 'node:module';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { beforeAll, expect, it } from 'vitest';

/** `npm pack`: what the server loads at run time is in the package, and what only the repository needs is not. */

const root = fileURLToPath(new URL('..', import.meta.url));
const manifest = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as {
  readonly bin: Readonly<Record<string, string>>;
  readonly scripts: Readonly<Record<string, string>>;
  readonly dependencies: Readonly<Record<string, string>>;
};
let packed: ReadonlySet<string>;

beforeAll(() => {
  const output = execFileSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: root,
    shell: process.platform === 'win32',
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  // npm 10 and 11 print a list, npm 12 an object by name.
  const printed = JSON.parse(output) as Readonly<
    Record<string, { readonly files: readonly { readonly path: string }[] }>
  >;
  packed = new Set(Object.values(printed).flatMap(({ files }) => files.map((file) => file.path)));
});

it('has every file that a module of the server imports or names by its URL, from the command on', () => {
  const seen = new Set<string>();
  const open = [...Object.values(manifest.bin), 'server/boot.mjs', 'server/main.ts', 'server/cli/main.ts'];
  const missing: string[] = [];
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (seen.has(file)) continue;
    seen.add(file);
    if (!packed.has(file)) missing.push(file);
    if (/\.(ts|mjs)$/.test(file)) open.push(...referencesOf(file).flatMap(filesOf));
  }
  expect(missing).toEqual([]);
  // The page, the shipped models and the workers are reached by URLs: the walk above has come to them.
  for (const file of ['client-demo/index.html', 'models/nano/nano.onnx', 'server/pipeline/worker.ts', 'package.json'])
    expect(seen).toContain(file);
});

it('names every package that it loads as a dependency', () => {
  const names = [...packed].filter((file) => /^server\/.*\.(ts|mjs)$/.test(file)).flatMap(packagesOf);
  const builtin = new Set(builtinModules);
  const unknown = names.filter((name) => !builtin.has(name) && !(name in manifest.dependencies));
  expect([...new Set(unknown)]).toEqual([]);
  expect(names).toContain('werift');
});

it('has what the install script builds the addon from', () => {
  const sources = ['native/CMakeLists.txt', 'native/package.json', 'kernels/CMakeLists.txt'];
  const folders = ['native/addon', 'native/backend', 'native/common', 'native/engine', 'native/weights', 'kernels'];
  for (const folder of folders) sources.push(...filesOf(folder).filter((file) => /\.(cpp|cu|cuh|h|txt)$/.test(file)));
  const kept = sources.filter((file) => !/\/(test|fuzz|bench)\//.test(file));
  expect(kept.filter((file) => !packed.has(file))).toEqual([]);
  const [, script = ''] = /^node (\S+)/.exec(manifest.scripts['postinstall'] ?? '') ?? [];
  expect(packed).toContain(script);
});

it('has no tests, goldens, benchmarks or models of this machine', () => {
  const foreign =
    /(^|\/)(test|tests|testing|bench|fuzz|training|golden|node_modules|build)\/|\.test\.|^models\/local\//;
  expect([...packed].filter((file) => foreign.test(file))).toEqual([]);
  expect(packed).toContain('LICENSE');
  expect(packed).toContain('NOTICE');
});

/** Relative specifiers of imports and of `new URL('…', import.meta.url)`, as paths from the root. */
function referencesOf(file: string): string[] {
  const text = readFileSync(path.join(root, file), 'utf8');
  const imported = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
  const named = [...text.matchAll(/new URL\(\s*'([^']+)',\s*import\.meta\.url/g)].map(([, url]) => url ?? '');
  // What is built at install time is in no package.
  const relative = [...imported, ...named].filter((name) => name.startsWith('.') && !name.includes('/build/'));
  return relative.map((name) => path.posix.join(path.posix.dirname(file), name));
}

function packagesOf(file: string): string[] {
  const { importedFiles } = ts.preProcessFile(readFileSync(path.join(root, file), 'utf8'), true, true);
  return importedFiles
    .map(({ fileName }) => fileName)
    .filter((name) => !name.startsWith('.') && !name.startsWith('node:'))
    .map((name) =>
      name
        .split('/')
        .slice(0, name.startsWith('@') ? 2 : 1)
        .join('/'),
    );
}

/** A file, or all files of a folder but tests and models that were pulled. */
function filesOf(name: string): string[] {
  const file = path.join(root, name);
  if (!existsSync(file) || !statSync(file).isDirectory()) return [name];
  return readdirSync(file, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)).split(path.sep).join('/'))
    .filter((each) => !/(^|\/)test\/|^models\/local\/|tsconfig\.json$/.test(each));
}
