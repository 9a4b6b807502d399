import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { hostname, tmpdir, uptime } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { AppError } from '../../errors.ts';
import { ResultFile, makeFolderOf } from '../result-file.ts';
import { ResultLock, hiddenName } from '../result-lock.ts';

let folder: string;
const at = (name: string): string => path.join(folder, name);
const names = (): string[] => readdirSync(folder).sort();
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'result-file-'));
  writeFileSync(at('in.mp4'), 'input');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const claim = (output: string, overwrite = false, input = 'in.mp4'): ResultFile =>
  ResultFile.claim(at(input), at(output), { overwrite });

function refusal(action: () => unknown): AppError {
  const before = names();
  try {
    action();
  } catch (error) {
    expect(names()).toEqual(before);
    if (error instanceof AppError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a result on its way', () => {
  it('is a hidden file of a unique name: no name that a person could use is written or removed', () => {
    const taken = ['x.part.mp4', 'x.mp4.part', 'x.tmp.mp4', '.x.mp4', 'x.mp4~'];
    for (const name of taken) writeFileSync(at(name), name);
    const first = claim('x.mp4');
    const name = path.basename(first.part);
    expect(name).toMatch(/^\.flashvsr-[0-9a-f]{16}-[0-9a-f]{12}\.part$/);
    first.discard();
    const second = claim('x.mp4');
    expect(path.basename(second.part)).not.toBe(name);
    writeFileSync(second.part, 'result');
    second.publish();
    expect(readFileSync(at('x.mp4'), 'utf8')).toBe('result');
    for (const kept of taken) expect(readFileSync(at(kept), 'utf8')).toBe(kept);
    expect(names()).toEqual([...taken, 'in.mp4', 'x.mp4'].sort());
  });

  it('does not replace a file that appeared during the job, unless it may overwrite', () => {
    const kept = claim('x.mp4');
    writeFileSync(at('x.mp4'), 'of another program');
    expect(() => kept.publish()).toThrow(/x\.mp4 exists already/);
    expect(readFileSync(at('x.mp4'), 'utf8')).toBe('of another program');
    const replaced = claim('x.mp4', true);
    chmodSync(at('x.mp4'), 0o640);
    writeFileSync(replaced.part, 'result');
    replaced.publish();
    expect(readFileSync(at('x.mp4'), 'utf8')).toBe('result');
    expect(statSync(at('x.mp4')).mode & 0o777).toBe(0o640);
    expect(names()).toEqual(['in.mp4', 'x.mp4']);
  });

  it('goes where a link points, and the link stays', () => {
    mkdirSync(at('disk'));
    writeFileSync(at('disk/real.mp4'), 'old');
    symlinkSync('disk/real.mp4', at('link.mp4'));
    const file = claim('link.mp4', true);
    expect(path.dirname(file.part)).toBe(path.dirname(file.file));
    writeFileSync(file.part, 'new');
    file.publish();
    expect(lstatSync(at('link.mp4')).isSymbolicLink()).toBe(true);
    expect(readFileSync(at('disk/real.mp4'), 'utf8')).toBe('new');
  });

  it('may have the longest name of a file system', () => {
    const name = `${'n'.repeat(251)}.mp4`;
    claim(name).publish();
    expect(existsSync(at(name))).toBe(true);
  });
});

describe('refused before the job', () => {
  it.each<[what: string, prepare: () => void, output: string, message: RegExp]>([
    ['the same name', () => undefined, 'in.mp4', /same file as the input, which is never changed/],
    ['a hard link to the input', () => linkSync(at('in.mp4'), at('x.mp4')), 'x.mp4', /same file as the input/],
    ['a symbolic link to the input', () => symlinkSync('in.mp4', at('x.mp4')), 'x.mp4', /same file as the input/],
    ['a folder', () => mkdirSync(at('x.mp4')), 'x.mp4', /x\.mp4 cannot be written: it is a folder/],
    ['in a missing folder', () => undefined, 'nowhere/x.mp4', /the folder .*nowhere does not exist/],
    ['in a file', () => undefined, 'in.mp4/x.mp4', /in\.mp4 is not a folder/],
    ['a name of 256 bytes', () => undefined, `${'ä'.repeat(126)}.mp4`, /its name is too long/],
    ['a link to nothing', () => symlinkSync('gone', at('x.mp4')), 'x.mp4', /a link to a file that does not exist/],
    ['a link to itself', () => symlinkSync('x.mp4', at('x.mp4')), 'x.mp4', /links point at each other/],
  ])('a result that is %s', (_what, prepare, output, message) => {
    prepare();
    const error = refusal(() => claim(output, true));
    expect(error).toMatchObject({ code: 'file.unwritable', message: expect.stringMatching(message) as string });
    expect(readFileSync(at('in.mp4'), 'utf8')).toBe('input');
  });

  it('an input that is a link to the result', () => {
    writeFileSync(at('source.mp4'), 'precious');
    symlinkSync('source.mp4', at('link.mp4'));
    expect(refusal(() => claim('source.mp4', true, 'link.mp4')).message).toMatch(/same file as the input/);
    expect(readFileSync(at('source.mp4'), 'utf8')).toBe('precious');
  });

  it('a result that exists, and an input that does not', () => {
    writeFileSync(at('x.mp4'), 'precious');
    expect(refusal(() => claim('x.mp4')).remedy).toMatch(/--overwrite/);
    expect(refusal(() => claim('y.mp4', false, 'gone.mp4'))).toMatchObject({ code: 'file.unreadable' });
  });

  it('a full disk', () => {
    const error = refusal(() =>
      ResultFile.claim(at('in.mp4'), at('x.mp4'), { overwrite: false, freeBytes: () => 4096 }),
    );
    expect(error.message).toMatch(/x\.mp4 cannot be written: the disk of .* is full/);
  });

  it('folders that cannot be made', () => {
    makeFolderOf(at('a/b/x.mp4'));
    makeFolderOf(at('a/b/x.mp4'));
    expect(readdirSync(at('a'))).toEqual(['b']);
    const error = refusal(() => makeFolderOf(at('in.mp4/b/x.mp4')));
    expect(error).toMatchObject({ code: 'file.unwritable' });
    expect(error.message).toMatch(/x\.mp4 cannot be written: .*in\.mp4 is not a folder\.$/);
    // No system lets anybody make a folder there.
    if (existsSync('/proc/self'))
      expect(refusal(() => makeFolderOf('/proc/self/a/x.mp4')).code).toBe('file.unwritable');
  });

  // Root may write anywhere.
  it.skipIf(process.getuid?.() === 0)('a folder or a file without permission', () => {
    mkdirSync(at('locked'), { mode: 0o500 });
    expect(refusal(() => claim('locked/x.mp4')).message).toMatch(/no permission/);
    writeFileSync(at('x.mp4'), 'protected', { mode: 0o400 });
    expect(refusal(() => claim('x.mp4', true)).message).toMatch(/no permission/);
  });
});

describe('one run for one result', () => {
  it('refuses the second, and lets it in after the first', () => {
    const first = claim('x.mp4', true);
    const error = refusal(() => claim('x.mp4', true));
    expect(error.message).toContain(`Another run is writing ${at('x.mp4')} at this moment (process ${process.pid}`);
    first.discard();
    first.discard();
    claim('x.mp4', true).discard();
    expect(names()).toEqual(['in.mp4']);
  });

  it('takes over from a run that was killed, and removes what it left', () => {
    // A process id that is certainly not in use: beyond the largest of Linux, macOS and Windows.
    const dead = JSON.stringify({ pid: 2 ** 30, host: hostname() });
    writeFileSync(hiddenName(at('x.mp4'), '.lock'), dead);
    writeFileSync(hiddenName(at('x.mp4'), '-0123456789ab.part'), 'half');
    writeFileSync(hiddenName(at('other.mp4'), '-0123456789ab.part'), 'of another result');
    claim('x.mp4').publish();
    expect(names()).toEqual([path.basename(hiddenName(at('other.mp4'), '-0123456789ab.part')), 'in.mp4', 'x.mp4']);
  });

  it('a lock of before the system started, whose number another process has now, is a dead one', () => {
    const file = hiddenName(at('x.mp4'), '.lock');
    writeFileSync(file, JSON.stringify({ pid: process.pid, host: hostname() }));
    expect(() => claim('x.mp4')).toThrow(/Another run is writing/);
    const before = Date.now() / 1000 - uptime() - 3600;
    utimesSync(file, before, before);
    claim('x.mp4').publish();
    expect(names()).toEqual(['in.mp4', 'x.mp4']);
  });

  it('a lock that has no owner yet is being written; one that never got one is a dead run’s', () => {
    const file = hiddenName(at('x.mp4'), '.lock');
    writeFileSync(file, '');
    expect(() => claim('x.mp4')).toThrow(/Another run is writing/);
    utimesSync(file, Date.now() / 1000 - 60, Date.now() / 1000 - 60);
    claim('x.mp4').discard();
    expect(names()).toEqual(['in.mp4']);
  });

  it('leaves a lock alone that is no longer its own', () => {
    const lock = ResultLock.take(at('x.mp4'));
    const file = hiddenName(at('x.mp4'), '.lock');
    writeFileSync(file, JSON.stringify({ pid: 1, host: hostname() }));
    lock.release();
    expect(existsSync(file)).toBe(true);
  });
});
