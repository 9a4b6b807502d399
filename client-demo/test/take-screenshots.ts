import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { startApp } from '../../server/app.ts';
import { loadConfig } from '../../server/config.ts';
import { createLog } from '../../server/log.ts';
import { launchBrowser } from '../../tests/browser.ts';

/**
 * The two pictures of the README, taken of the page as it is: the sample clip published and watched through a server of its
 * own.   npx tsx client-demo/test/take-screenshots.ts [--model NAME] [--out docs/images]
 */
const { values } = parseArgs({
  options: { model: { type: 'string', default: 'auto' }, out: { type: 'string', default: 'docs/images' } },
});
/** For bit rate and encoder to settle. */
const SETTLE_MS = 12_000;
const JPEG = { type: 'jpeg', quality: 82 } as const;

const config = loadConfig({ argv: ['--port', '0', '--model', values.model, '--log.level', 'error'] });
const app = await startApp(config, createLog(config.log));
const browser = await launchBrowser();
try {
  mkdirSync(values.out, { recursive: true });
  const wide = await browser.newPage({ viewport: { width: 1280, height: 834 }, colorScheme: 'light' });
  await wide.goto(app.url);
  await wide.getByRole('radio', { name: 'Sample' }).check({ force: true });
  await wide.getByLabel('Name of the broadcast').fill('launch-day');
  await wide.getByRole('button', { name: 'Go live' }).click();
  const phone = await browser.newPage({
    viewport: { width: 360, height: 756 },
    deviceScaleFactor: 2,
    colorScheme: 'dark',
    hasTouch: true,
  });
  await phone.goto(`${app.url}/watch/launch-day`);
  await phone.waitForTimeout(SETTLE_MS);
  await wide.screenshot({ path: `${values.out}/page-wide.jpg`, ...JPEG });
  await phone.screenshot({ path: `${values.out}/page-phone.jpg`, ...JPEG });
} finally {
  await browser.close();
  await app.close();
}
