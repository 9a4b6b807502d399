/** The grammar of server/broadcast/name.ts, for the page: `stage`, or `room/participant`. */
const PART = '[A-Za-z0-9][A-Za-z0-9._\\-]{0,63}';

/** For an input's `pattern`. */
export const NAME_PATTERN = `${PART}(/${PART})?`;
const NAME = new RegExp(`^${NAME_PATTERN}$`);

/** @param {string} name */
export function isBroadcastName(name) {
  return NAME.test(name);
}

/** @param {string} name */
export function namePath(name) {
  return name.split('/').map(encodeURIComponent).join('/');
}

/**
 * @param {string} pathname of a page /watch/<name>
 * @returns {string} the name, whatever it is worth
 */
export function nameOfPath(pathname) {
  const path = pathname.replace(/^\/watch\//, '');
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
