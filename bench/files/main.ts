import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { printTable } from '../table.ts';
import { checkLongFilm } from './long.ts';
import { ROWS, rowOutcomes, type TestOutcome } from './rows.ts';

/**
 * `npm run test:files`: the tests of `upscale`, and the table of faults with a verdict for each row. `npm run test:files -- long [minutes]`:
 * a long film instead (long.ts), which no check runs.
 */

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDERS = ['server/cli', 'server/codec'];

/** Of vitest's JSON reporter. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message?: string;
    readonly status: string;
    readonly assertionResults: readonly { readonly fullName: string; readonly status: string }[];
  }[];
}

function runTests(): { readonly tests: TestOutcome[]; readonly broken: string[] } {
  const folder = mkdtempSync(path.join(tmpdir(), 'test-files-'));
  const file = path.join(folder, 'report.json');
  try {
    const vitest = path.join(ROOT, 'node_modules', 'vitest', 'vitest.mjs');
    const projects = ['--project', 'unit', '--project', 'integration'];
    const reporters = ['--reporter', 'default', '--reporter', 'json', '--outputFile', file];
    spawnSync(process.execPath, [vitest, 'run', ...projects, ...reporters, ...FOLDERS], {
      cwd: ROOT,
      stdio: 'inherit',
    });
    const { testResults } = JSON.parse(readFileSync(file, 'utf8')) as Report;
    const nameOf = (name: string): string => path.relative(ROOT, name).replaceAll(path.sep, '/');
    const tests = testResults.flatMap(({ name, assertionResults }) =>
      assertionResults.map(({ fullName, status }) => ({
        name: `${nameOf(name)} ${fullName}`,
        status: statusOf(status),
      })),
    );
    // A file that cannot be loaded has no tests that could fail.
    const broken = testResults
      .filter(({ status, assertionResults }) => status === 'failed' && assertionResults.length === 0)
      .map(({ name, message = '' }) => `${nameOf(name)}: ${message}`);
    return { tests, broken };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function statusOf(status: string): TestOutcome['status'] {
  if (status === 'passed' || status === 'failed') return status;
  return 'skipped';
}

function checkRows(): boolean {
  const { tests, broken } = runTests();
  const rows = rowOutcomes(ROWS, tests);
  printTable(
    'Rows of the table of faults',
    rows.map(({ letter, kind, status, passed, failed }) => [
      letter,
      status,
      kind,
      `${passed} of ${passed + failed.length} tests`,
    ]),
  );
  const without = rows.filter(({ status }) => status === 'none').map(({ letter }) => letter);
  console.log(without.length === 0 ? 'Every row has a test.' : `Rows without a test: ${without.join(', ')}.`);
  const failed = tests.filter(({ status }) => status === 'failed').map(({ name }) => name);
  for (const name of [...failed, ...broken]) console.log(`FAIL  ${name}`);
  return failed.length === 0 && broken.length === 0 && without.length === 0;
}

const [mode, minutes = '10'] = process.argv.slice(2);
if (mode !== undefined && (mode !== 'long' || !(Number(minutes) > 0))) {
  console.error('npm run test:files [-- long [minutes]]');
  process.exit(2);
}
process.exitCode = (mode === 'long' ? await checkLongFilm(Number(minutes)) : checkRows()) ? 0 : 1;
