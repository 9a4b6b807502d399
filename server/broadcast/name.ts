import { z } from 'zod';

/** Of one part. */
export const MAX_NAME_LENGTH = 64;
const PART = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

function problemOf(name: string): string | undefined {
  const parts = name.split('/');
  if (parts.length > 2) return 'at most one slash: a name is "stage", or "room/participant" in a call';
  if (parts.some((part) => part.length > MAX_NAME_LENGTH))
    return `at most ${MAX_NAME_LENGTH} characters on each side of the slash`;
  if (parts.some((part) => !PART.test(part))) {
    return 'letters, digits, dot, dash and underscore only, starting with a letter or digit';
  }
  return undefined;
}

/**
 * A broadcast's name: `stage`, or `room/participant` for one of several in a room. Part of links, metrics labels and log
 * lines, so the grammar is narrow; no part can be `.` or `..`. client-demo/assets/broadcast-name.js has the same rule for
 * the page, and a test holds the two together.
 */
export const broadcastName = z
  .string()
  .superRefine((name, context) => {
    const message = problemOf(name);
    if (message !== undefined) context.addIssue({ code: 'custom', message });
  })
  // For docs/protocol.md; problemOf() says which rule a name breaks.
  .meta({
    description:
      '`stage` or `room/participant`; each part 1 to 64 of `A-Z a-z 0-9 . _ -`, beginning with a letter or digit',
  });

/** @returns the room of `room/participant`; undefined for a name without one */
export function roomOf(name: string): string | undefined {
  const slash = name.indexOf('/');
  return slash < 0 ? undefined : name.slice(0, slash);
}

/** For a path: each part encoded, the slash kept. */
export function namePath(name: string): string {
  return name.split('/').map(encodeURIComponent).join('/');
}
