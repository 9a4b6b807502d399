import { existsSync } from 'node:fs';
import { chromium, type Browser, type BrowserContext } from 'playwright-core';

/** Debian's Chromium for the browser tests: real WebRTC on the loopback interface, a fake camera, no questions asked. */
const PATHS = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];

const ARGUMENTS = [
  '--no-sandbox',
  '--disable-gpu',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  // Candidates on 127.0.0.1, and without mDNS names, which the other side cannot resolve.
  '--allow-loopback-in-peer-connection',
  '--disable-features=WebRtcHideLocalIpsWithMdns',
  '--autoplay-policy=no-user-gesture-required',
];

export interface BrowserOptions {
  /** A y4m or mjpeg file that the fake camera plays in a loop instead of its test pattern. */
  readonly cameraFile?: string;
  /** False: there is no camera at all. */
  readonly camera?: boolean;
  /** What the person answers when a page asks for the camera or the screen. */
  readonly permission?: 'allow' | 'refuse';
  readonly args?: readonly string[];
}

export function chromiumPath(): string {
  const path = PATHS.find((candidate) => candidate !== undefined && existsSync(candidate));
  if (path === undefined) {
    throw new Error('No Chromium found: install it (apt-get install chromium) or set CHROMIUM to its path.');
  }
  return path;
}

/** The caller closes it. */
export async function launchBrowser(options: BrowserOptions = {}): Promise<Browser> {
  const { cameraFile, camera = true, permission = 'allow', args = [] } = options;
  return chromium.launch({
    executablePath: chromiumPath(),
    headless: true,
    args: [
      ...ARGUMENTS,
      permission === 'allow' ? '--use-fake-ui-for-media-stream' : '--deny-permission-prompts',
      ...(camera ? ['--use-fake-device-for-media-stream'] : []),
      ...(cameraFile === undefined ? [] : [`--use-file-for-fake-video-capture=${cameraFile}`]),
      ...args,
    ],
  });
}

/** For a test that failed: what each page of the context showed, so that a report from another machine says more than a number. */
export async function printPages(context: BrowserContext): Promise<void> {
  for (const page of context.pages()) {
    const text = await page
      .locator('body')
      .innerText({ timeout: 5000 })
      .catch((error: unknown) => String(error));
    const lines = text.split('\n').filter((line) => line.trim() !== '');
    console.log(`${page.url()}\n  ${lines.slice(0, 40).join('\n  ')}`);
  }
}
