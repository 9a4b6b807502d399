const LOCAL = /^(localhost|127(\.\d+){3}|\[::1\])$/;

/** Whether only this computer can open the page's address. @param {string} [hostname] */
export function isLocalAddress(hostname = location.hostname) {
  return LOCAL.test(hostname) || hostname.endsWith('.localhost');
}
