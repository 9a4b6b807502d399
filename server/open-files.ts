import { readFileSync } from 'node:fs';

/** The least with which the process starts: modules, worker threads and a few sessions. */
const LEAST_OPEN_FILES = 96;

/** The limit of open files of this process, or undefined where the system does not say (Linux only). */
export function openFilesLimit(file = '/proc/self/limits'): number | undefined {
  try {
    const limit = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync(file, 'utf8'))?.[1];
    return limit === undefined || limit === 'unlimited' ? undefined : Number(limit);
  } catch {
    return undefined;
  }
}

/**
 * Imports nothing, because it runs before the rest of the server is loaded: with too few descriptors that loading is what
 * fails, deep in Node, with no sentence a person can use.
 * @returns why the process cannot start, or undefined
 */
export function openFilesProblem(limit = openFilesLimit()): string | undefined {
  if (limit === undefined || limit >= LEAST_OPEN_FILES) return undefined;
  return (
    `The limit of open files is ${limit}; the server needs at least ${LEAST_OPEN_FILES}, and 4096 for many clients.\n` +
    'Raise it (`ulimit -n 4096`, LimitNOFILE= of systemd, --ulimit nofile= of Docker) and start again.\n'
  );
}
