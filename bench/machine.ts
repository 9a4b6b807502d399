import { execFileSync } from 'node:child_process';
import { cpus } from 'node:os';
import { mkdirSync, writeFileSync } from 'node:fs';

/** What every stored measurement says about where it comes from. */
export interface Provenance {
  readonly date: string;
  readonly commit: string;
  readonly command: string;
  readonly machine: string;
  readonly node: string;
}

export function provenance(command: string): Provenance {
  const processors = cpus();
  let commit = 'unknown';
  try {
    commit = execFileSync('git', ['rev-parse', '--short', 'HEAD'], { stdio: ['ignore', 'pipe', 'ignore'] })
      .toString()
      .trim();
  } catch {
    // Not a git checkout: a released archive.
  }
  return {
    date: new Date().toISOString().slice(0, 10),
    commit,
    command,
    machine: `${processors.length} x ${processors[0]?.model.trim() ?? 'unknown CPU'}`,
    node: process.version,
  };
}

/** Writes bench/results/<name>-<date>.json and returns its path. */
export function writeResult(name: string, result: Provenance & Record<string, unknown>): string {
  mkdirSync('bench/results', { recursive: true });
  const path = `bench/results/${name}-${result.date}.json`;
  writeFileSync(path, `${JSON.stringify(result, null, 2)}\n`);
  return path;
}
