/** The credential that a link brings in its fragment, `#key=TOKEN`, which browsers send to no server. */

const STORED = 'flashvsr-live.access';
/** What the server takes of a token. */
const FRAGMENT = /^#key=([\w\-.~+/]{1,4096}=*)$/;

/**
 * The start page keeps a key for this browser and takes it out of the address, which people copy. A link to one broadcast keeps
 * its own: it must not replace a key that gives more.
 * @param {object} [page] for tests
 * @param {Pick<Location, 'hash' | 'pathname' | 'search'>} [page.location]
 * @param {Pick<Storage, 'getItem' | 'setItem'> | undefined} [page.storage] may be forbidden
 * @param {(address: string) => void} [page.replace] the address, without a new entry of the history
 * @returns {string | undefined}
 */
export function accessKey({ location = pageLocation(), storage = browserStorage(), replace = replaceAddress } = {}) {
  const key = linkKey(location);
  if (key !== undefined && location.pathname === '/') {
    try {
      storage?.setItem(STORED, key);
      if (storage !== undefined) replace(location.pathname + location.search);
    } catch {
      // No room, or forbidden: the address goes on carrying it.
    }
  }
  return key ?? storage?.getItem(STORED) ?? undefined;
}

/**
 * The key in the address of this page, not the kept one, which may give more: for copies of the address.
 * @param {Pick<Location, 'hash'>} [location]
 */
export function linkKey(location = pageLocation()) {
  return FRAGMENT.exec(location.hash)?.[1];
}

/** @param {string} address @param {string | undefined} key */
export function withKey(address, key) {
  return key === undefined ? address : `${address}#key=${key}`;
}

/** Nothing outside of a page, in tests. */
function pageLocation() {
  return globalThis.location ?? { hash: '', pathname: '', search: '' };
}

function browserStorage() {
  try {
    return globalThis.localStorage;
  } catch {
    return undefined;
  }
}

/** @param {string} address */
function replaceAddress(address) {
  history.replaceState(history.state, '', address);
}
