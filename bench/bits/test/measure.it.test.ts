import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { measure } from '../measure.ts';
import { readOptions } from '../options.ts';
import { RowFile } from '../rows.ts';

let folder: string;
beforeEach(() => (folder = mkdtempSync(join(tmpdir(), 'bits-measure-'))));
afterEach(() => rmSync(folder, { recursive: true }));

it('measures the clip of the repository by a resize and by a model, and nothing of it twice', async () => {
  const quick = ['--quick', '--clips', 'sway', '--codecs', 'H264', '--rates', '100', '--threads', '1'];
  const options = readOptions([...quick, '--sizes', '180', '--upscalers', 'resize,mini']);
  const file = new RowFile(join(folder, 'rows.jsonl'));
  const said: string[] = [];
  await measure(options, file, (line) => said.push(line));
  expect(said[0]).toBe('sway: 1 stream');
  expect(file.rows.map(({ clip, upscaler, goal }) => [clip, upscaler, goal])).toEqual([
    ['sway', 'resize', 720],
    ['sway', 'mini', 720],
  ]);
  for (const row of file.rows) {
    expect(row.kbps).toBeGreaterThan(50);
    expect(row.kbps).toBeLessThan(150);
    expect(row.shownFps).toBe(30);
    expect(row.psnrDb).toBeGreaterThan(25);
    expect(row.ssim).toBeGreaterThan(0.7);
    expect(row.perceptual).toBeLessThan(0.3);
  }
  // Another run, as after a stop.
  await measure(options, new RowFile(file.path), (line) => said.push(line));
  expect(said).toHaveLength(3);
});
