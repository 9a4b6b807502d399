import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { chromiumPath } from '../testing/browser.ts';

/** First step of `npm run check`: what it needs must be there; only a GPU may be absent, and what that skips is said. */
const ADDON = 'build/addon/Release/flashvsr.node';

const problems: string[] = [];

function firstLine(command: string, args: readonly string[]): string | undefined {
  try {
    return execFileSync(command, args, { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .split('\n')[0];
  } catch {
    return undefined;
  }
}

function need(what: string, found: string | undefined, remedy: string): void {
  if (found === undefined) problems.push(`${what} is missing: ${remedy}`);
  else console.log(`found    ${what}: ${found}`);
}

function chromium(): string | undefined {
  try {
    return firstLine(chromiumPath(), ['--version']);
  } catch {
    return undefined;
  }
}

need('C++ compiler', firstLine('c++', ['--version']), 'apt-get install g++');
need('CMake', firstLine('cmake', ['--version']), 'apt-get install cmake');
need('native addon', existsSync(new URL(`../${ADDON}`, import.meta.url)) ? ADDON : undefined, 'npm run build:addon');
need('Chromium', chromium(), 'apt-get install chromium, or set CHROMIUM to its path');

const gpu = firstLine('nvidia-smi', ['--query-gpu=name', '--format=csv,noheader']);
if (gpu !== undefined) console.log(`found    GPU: ${gpu} (its tests: npm run test:gpu)`);
else
  console.log(
    'skipped  for want of a GPU: CUDA kernels, CUDA parity and bench:engine (on a machine with one: npm run test:gpu)',
  );

const swiftShader = '/usr/lib/chromium/vk_swiftshader_icd.json';
if (process.env['SOFTWARE_VULKAN'] !== undefined || existsSync(swiftShader))
  console.log('found    software Vulkan (WebGPU tests)');
else console.log("skipped  for want of Debian's chromium or SOFTWARE_VULKAN (a Vulkan driver's .json): WebGPU tests");

for (const problem of problems) console.error(`MISSING  ${problem}`);
process.exit(problems.length === 0 ? 0 : 1);
