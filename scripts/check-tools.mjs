// First step of `npm run check`: what it needs must be there; only a GPU may be absent, and what is skipped for that is said.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chromiumPath } from './chromium.mjs';

const problems = [];

function version(command, args) {
  try {
    return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'ignore'] }).toString().split('\n')[0];
  } catch {
    return undefined;
  }
}

function need(what, found, remedy) {
  if (found) console.log(`found   ${what}: ${found}`);
  else problems.push(`${what} is missing: ${remedy}`);
}

need('C++ compiler', version('c++', ['--version']), 'apt install g++');
need('CMake', version('cmake', ['--version']), 'apt install cmake');
const addon = new URL('../build/Release/flashvsr.node', import.meta.url).pathname;
need('native addon', existsSync(addon) && addon.split('/').slice(-3).join('/'), 'npm run build:addon');
const chromium = chromiumPath();
need('Chromium', chromium && version(chromium, ['--version']), 'apt install chromium, or set CHROMIUM_PATH');

const gpu = version('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader']);
if (gpu) console.log(`found   GPU: ${gpu} (its tests: npm run test:gpu)`);
else console.log('skipped for want of a GPU: CUDA kernels, CUDA parity, bench:engine (npm run test:gpu on a machine with one)');

if (problems.length > 0) {
  for (const problem of problems) console.error(`MISSING ${problem}`);
  process.exit(1);
}
