import { AppError } from '../errors.ts';
import { parseBoundedJson } from './bounded-json.ts';
import { NO_RIGHTS, type Rights } from './rights.ts';

/** More names than a token of 4096 characters can hold. */
const MAX_ENTRIES = 1024;

type Claims = Readonly<Record<string, unknown>>;

/**
 * The rights in a token's claims: `flashvsr: {publish, watch, playback, rooms: [names], metrics, admin: boolean}`, and
 * `mediamtx_permissions: [{action, path}]`, a list or its JSON text, as MediaMTX reads it. A path that is a regular expression
 * (`~...`) gives no right: one from a token could hold the thread for hours.
 */
export function rightsOfClaims(claims: Claims): Rights {
  const own = ownClaim(claims['flashvsr']);
  const other = mediamtxClaim(claims['mediamtx_permissions']);
  return {
    publish: [...own.publish, ...other.publish],
    watch: [...own.watch, ...other.watch],
    playback: [...own.playback, ...other.playback],
    rooms: [...own.rooms, ...other.rooms],
    metrics: own.metrics || other.metrics,
    admin: own.admin || other.admin,
  };
}

function ownClaim(claim: unknown): Rights {
  if (typeof claim !== 'object' || claim === null) return NO_RIGHTS;
  const { publish, watch, playback, rooms, metrics, admin } = claim as Claims;
  return {
    publish: namesOf(publish),
    watch: namesOf(watch),
    playback: namesOf(playback),
    rooms: namesOf(rooms),
    metrics: metrics === true,
    admin: admin === true,
  };
}

function namesOf(value: unknown): string[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_ENTRIES).filter((name): name is string => typeof name === 'string' && name !== '');
}

/** An action of MediaMTX and the list of ours that its path goes to. */
const LISTS = { publish: 'publish', read: 'watch', playback: 'playback' } as const;

function mediamtxClaim(claim: unknown): Rights {
  const rights = { ...NO_RIGHTS, publish: [] as string[], watch: [] as string[], playback: [] as string[] };
  for (const entry of entriesOf(claim).slice(0, MAX_ENTRIES)) {
    if (typeof entry !== 'object' || entry === null) continue;
    const { action, path = '' } = entry as Claims;
    if (action === 'metrics') rights.metrics = true;
    if (action === 'api') rights.admin = true;
    const list =
      typeof action === 'string' && Object.hasOwn(LISTS, action) ? LISTS[action as keyof typeof LISTS] : undefined;
    const pattern = patternOf(path);
    if (list !== undefined && pattern !== undefined) rights[list].push(pattern);
  }
  return rights;
}

/** MediaMTX knows no star in a path: one that stands there is no pattern. */
function patternOf(path: unknown): string | undefined {
  if (typeof path !== 'string' || path.startsWith('~') || path.includes('*')) return undefined;
  return path === '' ? '*' : path;
}

function entriesOf(claim: unknown): readonly unknown[] {
  if (Array.isArray(claim)) return claim;
  if (typeof claim !== 'string') return [];
  try {
    const parsed = parseBoundedJson(claim);
    return Array.isArray(parsed) ? parsed : [];
  } catch (thrown) {
    if (thrown instanceof AppError) return [];
    throw thrown;
  }
}
