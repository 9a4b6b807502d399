import { accessSync, constants, existsSync, statSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Config } from '../../config/config.ts';
import { openFilesProblem } from '../../open-files.ts';
import { fail, ok, warn, type Finding } from './finding.ts';
import type { Machine } from './machine.ts';

/** Below this, many clients are refused before a limit of the configuration is reached. */
const ENOUGH_OPEN_FILES = 4096;
/** An hour of a result at 6 Mbit/s is 2.7 GB. */
const LITTLE_BYTES = 5e9;
const LEAST_BYTES = 2e8;
/** The server cannot run before it was made: its package file has the time of its making, in some zone. */
const PACKAGE_FILE = fileURLToPath(new URL('../../../package.json', import.meta.url));
const DAY_MS = 86_400_000;

export function checkOpenFiles({ openFiles }: Machine): Finding {
  const limit = openFiles();
  const remedy = 'Raise it: `ulimit -n 4096`, LimitNOFILE= of systemd, --ulimit nofile= of Docker.';
  const problem = openFilesProblem(limit)?.split('\n')[0];
  if (problem !== undefined) return fail('open files', problem, remedy);
  if (limit === undefined) return ok('open files', 'no limit that this system names');
  if (limit < ENOUGH_OPEN_FILES) return warn('open files', `limit ${limit}, too few for many clients`, remedy);
  return ok('open files', `limit ${limit}`);
}

/** Tokens, links and TURN credentials end by the clock. */
export async function checkClock({ nowMs, clockSynchronised }: Machine): Promise<Finding> {
  const now = nowMs();
  const time = new Date(now).toISOString();
  if (now < statSync(PACKAGE_FILE).mtimeMs - DAY_MS) {
    return fail('clock', `${time} is before this server was installed`, 'Set the clock (timedatectl set-ntp true).');
  }
  const synchronised = await clockSynchronised();
  if (synchronised === false) {
    const remedy = 'Run chrony or systemd-timesyncd: JSON Web Tokens and TURN credentials end by the clock.';
    return warn('clock', `${time}, not synchronised by NTP`, remedy);
  }
  return ok('clock', `${time}${synchronised === true ? ', synchronised' : ''}`);
}

/** A finding for every folder that files are written into. */
export async function checkFolders(config: Config, machine: Machine): Promise<Finding[]> {
  const folders = new Set<string>();
  for (const output of config.outputs) {
    if ((output.type === 'recording' || output.type === 'hls') && output.enabled) {
      folders.add(path.resolve(output.folder));
    }
  }
  for (const folder of [config.debug.recordFolder, config.api.folder]) {
    if (folder !== undefined) folders.add(path.resolve(folder));
  }
  if (folders.size === 0) return [ok('disk', 'nothing is recorded')];
  return Promise.all([...folders].map((folder) => checkFolder(folder, machine)));
}

async function checkFolder(folder: string, { freeBytes }: Machine): Promise<Finding> {
  // The server makes what is missing of it.
  let existing = folder;
  while (!existsSync(existing) && path.dirname(existing) !== existing) existing = path.dirname(existing);
  const problem = whyNotWritable(existing);
  if (problem !== undefined) return fail('disk', `${folder}: ${problem}`, 'Give the folder to the user of the server.');
  const free = await freeBytes(existing);
  const text = `${folder}: ${(free / 1e9).toFixed(1)} GB free`;
  if (free < LEAST_BYTES) return fail('disk', text, 'Make room, or name a folder on another disk.');
  if (free < LITTLE_BYTES) return warn('disk', text, 'An hour of a result takes up to 2.7 GB: make room.');
  return ok('disk', text);
}

function whyNotWritable(folder: string): string | undefined {
  if (!statSync(folder).isDirectory()) return `${folder} is no folder`;
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    return undefined;
  } catch {
    return `${folder} may not be written by this user`;
  }
}
