import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll } from 'vitest';
import { configSchema } from '../../../config/config.ts';
import { readFilm, runFfmpeg, type Film } from '../../../../testing/film.ts';
import { upscaleFile, type UpscaleOptions, type UpscaleResult } from '../../upscale-file.ts';

/** A folder for one test file's films, and `upscale --model resize --scale 2 --preset ultrafast` on them. */
export interface Workbench {
  readonly at: (name: string) => string;
  /** Makes a file by ffmpeg; `name` is its last argument. */
  readonly make: (name: string, ...args: string[]) => Promise<unknown>;
  /** @param input a name in the folder, or an address */
  readonly upscale: (input: string, options?: Row) => Promise<{ result: UpscaleResult; film: Film }>;
  /** The same without reading the result. */
  readonly run: (input: string, options?: Row) => Promise<{ result: UpscaleResult; output: string }>;
}

export interface Row extends Partial<UpscaleOptions> {
  /** Ending of the result; `.mp4`. */
  readonly ending?: string;
}

export const OPTIONS: UpscaleOptions = {
  model: configSchema.shape.model.parse({ name: 'resize', scale: 2 }),
  crf: 18,
  preset: 'ultrafast',
  overwrite: true,
};

/** Sixty-four by forty-eight, ten pictures at 25 a second. */
export const PICTURES = ['-f', 'lavfi', '-i', 'testsrc=size=64x48:rate=25:duration=0.4'];
export const X264 = ['-c:v', 'libx264', '-preset', 'ultrafast', '-pix_fmt', 'yuv420p'];

export function pictures(seconds: number, size = '64x48', rate = 25): string[] {
  return ['-f', 'lavfi', '-i', `testsrc=size=${size}:rate=${rate}:duration=${seconds}`];
}

export function tone(seconds: number): string[] {
  return ['-f', 'lavfi', '-i', `sine=frequency=440:sample_rate=48000:duration=${seconds}`];
}

export function openWorkbench(): Workbench {
  const folder = mkdtempSync(path.join(tmpdir(), 'upscale-files-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  const at = (name: string): string => path.join(folder, name);
  let results = 0;
  const run: Workbench['run'] = async (input, { ending = '.mp4', ...options } = {}) => {
    results += 1;
    const output = at(`result-${results}${ending}`);
    const result = await upscaleFile(input.includes('://') ? input : at(input), output, { ...OPTIONS, ...options });
    return { result, output };
  };
  return {
    at,
    make: (name, ...args) => runFfmpeg(...args, at(name)),
    run,
    upscale: async (input, options) => {
      const { result, output } = await run(input, options);
      return { result, film: await readFilm(output) };
    },
  };
}

/** Differences of neighbours. */
export function steps(times: readonly number[]): number[] {
  return times.slice(1).map((time, index) => time - (times[index] ?? 0));
}
