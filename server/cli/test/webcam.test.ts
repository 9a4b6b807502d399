import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { loopbackCameras } from '../loopback-cameras.ts';
import { browserCommand } from '../open-page.ts';
import { destinationOf, webcamConfig, webcamGuide } from '../webcam.ts';

const LOOPBACK = { device: '/dev/video10', label: 'FlashVSR Live' };
const OPTIONS = { name: 'webcam', to: 'auto', size: { width: 1280, height: 720 }, open: true };
const CAMERA = { kind: 'camera', device: '/dev/video10' } as const;

describe('the devices of v4l2loopback', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'sysfs-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('are found among real cameras, the lowest first', () => {
    const [devices, list] = [join(folder, 'devices'), join(folder, 'class')];
    mkdirSync(list);
    for (const [name, label, files] of [
      ['video12', 'Second', ['max_openers']],
      ['video10', 'FlashVSR Live', ['max_openers']],
      ['video0', 'Integrated Camera', []],
    ] as const) {
      const device = join(devices, name);
      mkdirSync(device, { recursive: true });
      for (const file of ['name', ...files]) writeFileSync(join(device, file), `${label}\n`);
      symlinkSync(device, join(list, name));
    }
    expect(loopbackCameras(list)).toEqual([LOOPBACK, { device: '/dev/video12', label: 'Second' }]);
    expect(loopbackCameras(join(folder, 'none'))).toEqual([]);
  });
});

describe('where the picture goes', () => {
  it('is the first device, or the page and why', () => {
    expect(destinationOf('auto', [LOOPBACK], 'linux')).toEqual(CAMERA);
    expect(destinationOf('page', [LOOPBACK], 'linux')).toMatchObject({ kind: 'page' });
    expect(destinationOf('auto', [], 'linux')).toMatchObject({ why: expect.stringContaining('modprobe') as string });
    expect(destinationOf('auto', [], 'darwin')).toMatchObject({ why: expect.stringContaining('OBS') as string });
    expect(() => destinationOf('/dev/video0', [LOOPBACK], 'linux')).toThrow('no device of v4l2loopback');
  });

  it('is said beside what to open', () => {
    const app = { url: 'http://localhost:8080' };
    const onCamera = webcamGuide(app, OPTIONS, CAMERA);
    expect(onCamera.pages).toEqual(['http://localhost:8080/?name=webcam']);
    expect(onCamera.text).toContain('/dev/video10, 1280x720');
    const onPage = webcamGuide(app, { ...OPTIONS, source: 'rtsp://cam' }, { kind: 'page', why: 'No device.' });
    expect(onPage.pages).toEqual(['http://localhost:8080/watch/webcam?embed=1&fit=pixel']);
    expect(onPage.text).toContain('No device.');
  });
});

it('the server gets the camera and the source beside what its own settings list', () => {
  const own = JSON.stringify([{ name: 'archive', broadcast: '*', type: 'recording', folder: '/srv' }]);
  const source = 'rtsp://192.0.2.1/stream';
  const config = webcamConfig({ ...OPTIONS, source }, CAMERA, ['--port', '8081', '--outputs', own]);
  expect(config.http.port).toBe(8081);
  expect(config.outputs).toMatchObject([
    { name: 'archive' },
    { name: 'webcam', broadcast: 'webcam', type: 'camera', device: '/dev/video10', width: 1280, height: 720 },
  ]);
  expect(config.sources).toMatchObject([{ name: 'webcam', url: source }]);
  expect(webcamConfig(OPTIONS, { kind: 'page', why: '' }, []).outputs).toEqual([]);
  const odd = { ...OPTIONS, size: { width: 1281, height: 720 } };
  expect(() => webcamConfig(odd, CAMERA, [])).toThrow('width');
});

it('addresses go to the browser whole, as one argument of a program that is no shell', () => {
  const url = 'http://localhost:8080/watch/webcam?embed=1&fit=pixel';
  expect((['linux', 'darwin', 'win32'] as const).map((platform) => browserCommand(url, platform).at(-1))).toEqual([
    url,
    url,
    url,
  ]);
});
