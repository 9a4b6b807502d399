/**
 * For `addInitScript`: the main page as a person left it who chose an upload size, and the result beside the own picture. What is
 * sent follows the line at a first visit, which is a matter of how busy the machine is.
 */
export function keepManual(): void {
  const key = 'flashvsr-live.publish';
  const settings = { auto: false, height: 180, maxBitrateBps: 300_000, sendBack: true };
  try {
    if (localStorage.getItem(key) === null) localStorage.setItem(key, JSON.stringify(settings));
  } catch {
    // about:blank has no storage.
  }
}
