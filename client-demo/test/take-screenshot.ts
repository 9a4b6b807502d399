import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startApp } from '../../server/app.ts';
import { loadConfig } from '../../server/config/config.ts';
import { createLog } from '../../server/log.ts';
import { launchBrowser } from '../../testing/browser.ts';

/**
 * The README's picture, taken of the page as it is: the sample clip published and watched through a separate server.
 *     npx tsx client-demo/test/take-screenshot.ts [--model NAME] [--out docs/images]
 */
const { values } = parseArgs({
  options: { model: { type: 'string', default: 'auto' }, out: { type: 'string', default: 'docs/images' } },
});
/** For bit rate, encoder and overload ladder to settle. */
const SETTLE_MS = 25_000;

const config = loadConfig({ argv: ['--port', '0', '--model', values.model, '--log.level', 'error'] });
const app = await startApp(config, createLog(config.log));
const browser = await launchBrowser();
try {
  mkdirSync(values.out, { recursive: true });
  const page = await browser.newPage({ viewport: { width: 1280, height: 834 }, colorScheme: 'light' });
  await page.goto(app.url);
  await page.getByRole('radio', { name: 'Sample' }).check({ force: true });
  await page.getByLabel('Channel name').fill('launch-day');
  await page.getByRole('button', { name: 'Go live' }).click();
  await page.waitForTimeout(SETTLE_MS);
  await page.screenshot({ path: `${values.out}/page-wide.jpg`, type: 'jpeg', quality: 82 });
} finally {
  await browser.close();
  await app.close();
}
