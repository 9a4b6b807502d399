import { existsSync } from 'node:fs';

/** Where the browser for the tests is: CHROMIUM_PATH, or where Debian and Ubuntu put it. */
export function chromiumPath() {
  const candidates = [process.env.CHROMIUM_PATH, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
  return candidates.find((path) => path !== undefined && existsSync(path));
}
