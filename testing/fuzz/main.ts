import { parseArgs } from 'node:util';
import { fuzz, type FuzzTarget } from './fuzz.ts';
import { TARGETS } from './targets.ts';

/**
 * npm run fuzz -- [TARGET ...] [--iterations N] [--seed N]: all targets when none is named, `dtls` for all of `dtls-...`; exit
 * code 1 at a failure.
 */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    iterations: { type: 'string', default: '100000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000_000) },
  },
});
const iterations = Number(values.iterations);
const seed = Number(values.seed);
const fits = (target: FuzzTarget, name: string) => target.name === name || target.name.startsWith(`${name}-`);
const unknown = positionals.filter((name) => !TARGETS.some((target) => fits(target, name)));
if (unknown.length > 0 || !Number.isSafeInteger(iterations) || iterations < 1 || !Number.isSafeInteger(seed)) {
  console.error('usage: npm run fuzz -- [TARGET ...] [--iterations N] [--seed N]\ntargets:');
  for (const { name, about } of TARGETS) console.error(`  ${name.padEnd(16)}${about}`);
  process.exit(2);
}

const wanted = TARGETS.filter((target) => positionals.length === 0 || positionals.some((name) => fits(target, name)));
for (const target of wanted) {
  const startedMs = performance.now();
  try {
    fuzz(target, { iterations, seed });
  } catch (error) {
    console.error(error);
    process.exitCode = 1;
    continue;
  }
  const seconds = (performance.now() - startedMs) / 1000;
  console.log(
    `${target.name.padEnd(16)}${iterations} iterations, seed ${seed}, ${seconds.toFixed(1)} s: nothing found`,
  );
}
