import { InvalidArgumentError, Option, type Command } from 'commander';
import type { App } from '../app.ts';
import { loadConfig, type Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { loopbackCameras, type LoopbackCamera } from './loopback-cameras.ts';
import { openPage } from './open-page.ts';

/** Where the sharp picture goes: a camera of this machine, or a page for OBS. */
type Destination =
  { readonly kind: 'camera'; readonly device: string } | { readonly kind: 'page'; readonly why: string };

export interface WebcamOptions {
  /** The broadcast's name. */
  readonly name: string;
  /** A pull source in place of the page's camera. */
  readonly source?: string;
  readonly to: string;
  readonly size: { readonly width: number; readonly height: number };
  readonly open: boolean;
}

/** What stands between this machine and a camera of its own. */
const LOAD = 'sudo modprobe v4l2loopback video_nr=10 card_label="FlashVSR Live" exclusive_caps=1';

/**
 * @param to `auto`, `page` or a device
 * @param cameras v4l2loopback's
 * @throws AppError config.invalid for a device that is none of them
 */
export function destinationOf(
  to: string,
  cameras: readonly LoopbackCamera[],
  platform: NodeJS.Platform = process.platform,
): Destination {
  const [first] = cameras;
  if (to === 'page') return { kind: 'page', why: 'As asked, no camera of this machine is made.' };
  if (to === 'auto') {
    if (first !== undefined) return { kind: 'camera', device: first.device };
    const why =
      platform === 'linux'
        ? `This machine has no v4l2loopback device, so no program can see the result as a camera by itself. To make one: ${LOAD} (Debian: apt-get install v4l2loopback-dkms).`
        : 'Only Linux has devices that a program can make a camera of; here OBS makes it.';
    return { kind: 'page', why };
  }
  if (cameras.some(({ device }) => device === to)) return { kind: 'camera', device: to };
  const there = cameras.length === 0 ? 'none is loaded' : `there are ${cameras.map(({ device }) => device).join(', ')}`;
  throw new AppError('config.invalid', `--to is "${to}", which is no device of v4l2loopback: ${there}.`, {
    remedy: `Load it (${LOAD}), or leave --to out.`,
  });
}

/**
 * The server's settings for it: its own flags, and the camera and the source beside what they list.
 * @throws AppError config.invalid
 */
export function webcamConfig(options: WebcamOptions, destination: Destination, flags: readonly string[]): Config {
  const { name, source, size } = options;
  const own = loadConfig({ argv: flags, environment: process.env, defaultFile: 'flashvsr.yaml' });
  const camera = { name: 'webcam', broadcast: name, type: 'camera', ...size };
  const outputs =
    destination.kind === 'page' ? own.outputs : [...own.outputs, { ...camera, device: destination.device }];
  const sources = source === undefined ? own.sources : [...own.sources, { name, url: source }];
  const lists = ['--outputs', JSON.stringify(outputs), '--sources', JSON.stringify(sources)];
  return loadConfig({ argv: [...flags, ...lists], environment: process.env, defaultFile: 'flashvsr.yaml' });
}

/** What a person reads once the server listens: what to do, where the picture goes, and what this machine cannot do. */
export function webcamGuide(
  { url }: Pick<App, 'url'>,
  { name, source, size }: WebcamOptions,
  destination: Destination,
): { readonly text: string; readonly pages: readonly string[] } {
  const publish = `${url}/?name=${encodeURIComponent(name)}`;
  const clean = `${url}/watch/${name}?embed=1&fit=pixel`;
  const from = source === undefined ? `  camera  go live on ${publish}` : `  camera  pulled by the server as "${name}"`;
  const to =
    destination.kind === 'camera'
      ? [
          `  webcam  ${destination.device}, ${size.width}x${size.height}: choose it in the meeting program once the broadcast is live`,
        ]
      : [
          `  webcam  ${destination.why}`,
          `          The clean picture for OBS (source "Browser", then "Start Virtual Camera"): ${clean}`,
        ];
  const sound = '  sound   a camera has none: choose the microphone itself in the meeting program (docs/webcam.md)';
  const pages = [...(source === undefined ? [publish] : []), ...(destination.kind === 'page' ? [clean] : [])];
  return { text: [from, ...to, sound, '', ''].join('\n'), pages };
}

/** Registers `webcam` with the command line. */
export function registerWebcam(program: Command): void {
  program
    .command('webcam')
    .description('the result as a camera for meeting programs: starts the server, takes the camera, makes the webcam')
    .argument('[settings...]', "the server's own, behind --: -- --model nano --port 8081")
    .option('-n, --name <name>', "the broadcast's name", 'webcam')
    .option('-s, --source <url>', 'a pull source (rtsp://, file://, ...) in place of the camera on the page')
    .option('-t, --to <where>', 'auto (a v4l2loopback device, otherwise the page), page, or a device', 'auto')
    .addOption(
      new Option('--size <size>', 'of the camera; the picture is fitted into it')
        .argParser(sizeOf)
        .default({ width: 1280, height: 720 }, '1280x720'),
    )
    .option('--no-open', 'only print the addresses, open no browser')
    .action(async (flags: readonly string[], options: WebcamOptions) => {
      const destination = destinationOf(options.to, loopbackCameras());
      // The server is large: other commands do without it.
      const { runServer } = await import('./serve.ts');
      const app = await runServer(webcamConfig(options, destination, flags));
      const { text, pages } = webcamGuide(app, options, destination);
      process.stdout.write(text);
      if (!options.open) return;
      for (const page of pages) {
        if (!(await openPage(page))) process.stdout.write(`  No browser could be opened here; open ${page}\n`);
      }
    });
}

function sizeOf(text: string): WebcamOptions['size'] {
  const [, width, height] = /^(\d{2,4})x(\d{2,4})$/.exec(text) ?? [];
  if (width === undefined || height === undefined) throw new InvalidArgumentError('It must be like 1280x720.');
  return { width: Number(width), height: Number(height) };
}
