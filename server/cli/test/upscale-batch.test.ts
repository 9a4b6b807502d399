import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Command } from 'commander';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { AppError } from '../../errors.ts';
import { BatchClock, batchItems, upscaleBatch } from '../upscale-batch.ts';
import type { UpscaleOptions, UpscaleResult } from '../upscale-file.ts';
import { addUpscaleFlags, protectNames, trimOf, upscaleOptions } from '../upscale-flags.ts';

let folder: string;
const at = (name: string): string => path.join(folder, name);
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'upscale-batch-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true, force: true });
});

const RESULT: UpscaleResult = {
  ...{
    frames: 1,
    keptFrames: 0,
    damagedPackets: 0,
    notices: [],
    said: [],
    width: 2,
    height: 2,
    label: 'x',
    seconds: 1,
  },
};
const OPTIONS = {} as UpscaleOptions;

describe('several inputs into a folder', () => {
  it('names results like their inputs, films of other containers .mp4', () => {
    const inputs = ['a/one.mkv', 'b/two.avi', 'three.png', 'https://host/four.mov?key=1', '%d?.mp4'];
    expect(batchItems(inputs, 'out').map(({ output }) => output)).toEqual([
      ...['out/one.mkv', 'out/two.mp4', 'out/three.png', 'out/four.mov', 'out/%d?.mp4'],
    ]);
  });

  it('refuses a file as the folder, there or not', () => {
    writeFileSync(at('x'), '');
    expect(() => batchItems(['a.mp4', 'b.mp4'], at('x'))).toThrow(/x is not a folder/);
    expect(() => batchItems(['a.mp4', 'b.mp4'], at('c.mp4'))).toThrow(/2 inputs cannot become one file/);
    expect(() => batchItems(['a.mp4', 'b.mp4'], at('c.mp4/'))).not.toThrow();
  });

  it('goes on after one that fails, and lists it; two of one name are no race', async () => {
    const written: string[] = [];
    vi.spyOn(process.stderr, 'write').mockImplementation((text) => written.push(String(text)) > 0);
    const items = batchItems([at('a.mp4'), at('bad.mp4'), at('sub/a.mp4'), at('c.mp4')], at('out'));
    const done: string[] = [];
    const upscale = (input: string): Promise<UpscaleResult> =>
      input.endsWith('bad.mp4')
        ? Promise.reject(new AppError('file.unreadable', 'It is bad.'))
        : Promise.resolve(RESULT);
    const failures = await upscaleBatch(items, OPTIONS, ({ input }) => done.push(path.basename(input)), upscale);
    expect(done).toEqual(['a.mp4', 'c.mp4']);
    expect(failures.map(({ item, error }) => [path.basename(item.input), error.message])).toEqual([
      ['bad.mp4', 'It is bad.'],
      ['a.mp4', `${at('out/a.mp4')} is already the result of another input of the same name.`],
    ]);
    expect(written[0]).toBe(`[2/4] ${at('bad.mp4')} failed: It is bad.\n`);
    expect(existsSync(at('out'))).toBe(true);
  });

  it('estimates the time left of all files from the first file on, by their bytes', () => {
    writeFileSync(at('a'), Buffer.alloc(1000));
    writeFileSync(at('b'), Buffer.alloc(3000));
    const [a, b] = [at('a'), at('b')].map((input) => ({ input, output: 'x' }));
    if (a === undefined || b === undefined) throw new Error('no items');
    let now = 5000;
    const clock = new BatchClock([a, b], () => now);
    expect(clock.left(a, 0)).toBe('');
    now += 10_000;
    expect(clock.left(a, 0.5)).toBe('; all files: 1 min 10 s left');
    clock.done(a);
    now += 10_000;
    expect(clock.left(b, 0)).toBe('; all files: 1 min 0 s left');
    expect(clock.left(b, 1)).toBe('; all files: 0 s left');
  });

  it('ends when it is stopped', async () => {
    const started: string[] = [];
    const upscale = (input: string): Promise<UpscaleResult> => {
      started.push(input);
      return Promise.reject(new AppError('job.stopped', 'Stopped.'));
    };
    const items = batchItems(['a.mp4', 'b.mp4'], at('out'));
    await expect(upscaleBatch(items, OPTIONS, () => undefined, upscale)).rejects.toThrow('Stopped.');
    expect(started).toEqual(['a.mp4']);
  });
});

describe('flags', () => {
  it.each([
    ['10-20', 10, 20],
    ['1:30-', 90, Infinity],
    ['-1:02:03.5', 0, 3723.5],
    [' 0.5 - 1 ', 0.5, 1],
  ])('--trim %s', (text, startSeconds, endSeconds) => {
    expect(trimOf(text)).toEqual({ startSeconds, endSeconds });
  });

  it.each(['', '10', '20-10', '5-5', 'a-b', '1-2-3', '1:2:3:4-', '-'.repeat(3), '1e3-2e3'])(
    '--trim %j is refused',
    (text) => {
      expect(() => trimOf(text)).toThrow(/--trim is .* it must be START-END/);
    },
  );

  const parse = (...argv: string[]): Command => {
    const command = addUpscaleFlags(new Command().argument('[files...]').exitOverride());
    return command.configureOutput({ writeErr: () => undefined }).parse(argv, { from: 'user' });
  };

  it('every flag has a meaning, and a default or says what happens without it', () => {
    for (const option of parse().options) {
      expect(option.description, option.flags).not.toBe('');
      const said = option.defaultValue !== undefined || /\(default: /.test(option.description);
      expect(said, `${option.flags} names no default`).toBe(true);
    }
  });

  it('a scale is asked for only when the user gives one', () => {
    expect(upscaleOptions(parse())).toMatchObject({ scaleAsked: false, sound: true, rate: 25, overwrite: false });
    expect(upscaleOptions(parse('-s', '2', '--no-audio'))).toMatchObject({ scaleAsked: true, sound: false });
    expect(() => upscaleOptions(parse('--rate', '0'))).toThrow(/--rate is "0"; it must be a number from 0\.1 to 1000/);
    expect(() => parse('--codec', 'vp8')).toThrow(/h264, hevc, av1/);
  });

  it('a name that begins with a dash is a name where such a file exists', () => {
    writeFileSync(at('-x.mp4'), '');
    const before = process.cwd();
    process.chdir(folder);
    try {
      const names = protectNames(['upscale', '-x.mp4', '-s', '2', '--crf=3', '-y.mp4'], parse());
      expect(names).toEqual(['upscale', './-x.mp4', '-s', '2', '--crf=3', '-y.mp4']);
    } finally {
      process.chdir(before);
    }
  });
});
