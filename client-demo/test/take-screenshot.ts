import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { parseArgs } from 'node:util';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { startApp } from '../../server/app.ts';
import { loadConfig } from '../../server/config/config.ts';
import { createLog } from '../../server/log.ts';
import { launchBrowser } from '../../testing/browser.ts';

/**
 * The README's picture, taken of the page as it is: its first screen, or with --live the sample clip published and watched
 * through a separate server (on a machine that does nothing else: the page says what an overloaded one does).
 *     npx tsx client-demo/test/take-screenshot.ts [--live] [--model NAME] [--out docs/images]
 */
const { values } = parseArgs({
  options: {
    live: { type: 'boolean', default: false },
    model: { type: 'string', default: 'nano' },
    out: { type: 'string', default: 'docs/images' },
  },
});
/** For bit rate, encoder and overload ladder to settle. */
const SETTLE_MS = 25_000;

const config = loadConfig({ argv: ['--port', '0', '--model', values.model, '--log.level', 'error'] });
const app = await startApp(config, createLog(config.log));
const browser = await launchBrowser();
try {
  mkdirSync(values.out, { recursive: true });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 }, colorScheme: 'light' });
  await page.goto(app.url);
  await page.getByText('Connected').waitFor();
  await page.getByLabel('Channel name').fill('launch-day');
  await page.getByLabel('Channel name').blur();
  if (values.live) {
    await page.getByRole('button', { name: 'See it on a sample' }).click();
    await page.waitForTimeout(SETTLE_MS);
  } else await page.waitForLoadState('networkidle');
  const toWebp = ['-f', 'png_pipe', '-i', '-', '-c:v', 'libwebp', '-quality', '75', '-compression_level', '6'];
  execFileSync(ffmpeg.path, ['-loglevel', 'error', '-y', ...toWebp, `${values.out}/page-wide.webp`], {
    input: await page.screenshot(),
  });
} finally {
  await browser.close();
  await app.close();
}
