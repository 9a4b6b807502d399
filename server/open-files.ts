import { readdirSync, readFileSync } from 'node:fs';

/** The least with which the process starts: modules, worker threads and a few sessions. */
const LEAST_OPEN_FILES = 96;
/** Below this, modules are loaded with care. */
const GENTLE_BELOW = 256;
const REMEDY = 'Raise it (`ulimit -n 4096`, LimitNOFILE= of systemd, --ulimit nofile= of Docker) and start again.\n';

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
 * This file imports nothing of the server, because it runs before the rest is loaded: with too few descriptors that loading
 * is what fails, deep in Node, without a sentence that helps.
 * @returns why the process cannot start, or undefined
 */
export function openFilesProblem(limit: number | undefined): string | undefined {
  if (limit === undefined || limit >= LEAST_OPEN_FILES) return undefined;
  return `The limit of open files is ${limit}; the server needs at least ${LEAST_OPEN_FILES}, and 4096 for many clients.\n${REMEDY}`;
}

/** For an EMFILE while modules are loaded. */
export function tooFewToLoad(limit: number | undefined): string {
  return `The server could not be loaded: too many open files${limit === undefined ? '' : ` (the limit is ${limit})`}.\n${REMEDY}`;
}

/** Rooms of the server, each loaded before the next: what they share is then in the module cache. */
const ROOMS = [
  'config/config',
  'access/access',
  'upscalers/create-upscaler',
  'rtc/peer-stack',
  'broadcast/broadcast-registry',
  'egress/output-service',
  'ingress/source-service',
];

/**
 * Node opens all imports of a module at the same time, and zod imports sixty files of translations from one, jose forty: more than
 * a limit of 100 allows. Loaded one by one before, they are in the module cache.
 */
export async function loadGently(limit: number | undefined): Promise<void> {
  if (limit === undefined || limit >= GENTLE_BELOW) return;
  await importEach(new URL('./v4/locales/', import.meta.resolve('zod')));
  const jose = new URL('./', import.meta.resolve('jose'));
  for (const folder of ['lib/', 'key/', 'jws/', 'jwt/', 'jwks/']) await importEach(new URL(folder, jose));
  for (const room of ROOMS) await import(new URL(`./${room}.ts`, import.meta.url).href);
}

async function importEach(folder: URL): Promise<void> {
  for (const name of readdirSync(folder)) {
    if (name.endsWith('.js') && name !== 'index.js') await import(new URL(name, folder).href);
  }
}
