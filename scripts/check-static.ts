import { spawn } from 'node:child_process';
import { availableParallelism } from 'node:os';

/**
 * The part of `npm run check` that runs nothing of the product: format, lint and types, as many at a time as there are cores, the longest
 * first. Each prints what it found when it ends; all run, so that one run names every problem.
 */
const TSC = ['.', 'testing', 'tests', 'bench', 'client-demo', 'client-demo/test'];
const steps: readonly (readonly string[])[] = [
  ['npx', 'eslint', '.'],
  ...TSC.map((project) => ['npx', 'tsc', '--noEmit', '-p', project]),
  ['npx', 'prettier', '--check', '.'],
  ['scripts/format-native.sh', '--check'],
];

async function run([command = '', ...args]: readonly string[]): Promise<boolean> {
  const startedAt = performance.now();
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => (output += text));
  }
  const code = await new Promise<number | null>((resolve) => {
    child.once('error', (error) => {
      output += `${error.message}\n`;
      resolve(null);
    });
    child.once('close', resolve);
  });
  const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
  console.log(`${code === 0 ? 'ok    ' : 'FAILED'}  ${[command, ...args].join(' ')} (${seconds} s)`);
  if (code !== 0) console.log(output);
  return code === 0;
}

const waiting = [...steps];
let failed = false;
async function worker(): Promise<void> {
  for (let step = waiting.shift(); step !== undefined; step = waiting.shift()) failed = !(await run(step)) || failed;
}
// A type checker takes up to 1 GB.
await Promise.all(Array.from({ length: Math.min(availableParallelism(), 4) }, worker));
process.exit(failed ? 1 : 0);
