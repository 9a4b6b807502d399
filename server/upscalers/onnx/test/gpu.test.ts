import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { gpuName, gpuPossible } from '../gpu-name.ts';
import { gpuObjection } from '../gpu-probe/probe-gpu.ts';
import { GpuTurns } from '../gpu-turns.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'gpu-test-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function file(name: string, content = ''): string {
  const full = path.join(folder, name);
  mkdirSync(path.dirname(full), { recursive: true });
  writeFileSync(full, content);
  return folder;
}

describe('names', () => {
  it('are the NVIDIA driver’s, else the vendor of the first card, else the interface', () => {
    expect(gpuName('linux', path.join(folder, 'none'))).toBe('GPU (WebGPU)');
    file('sys/class/drm/card0/device/vendor', '0x1002\n');
    expect(gpuName('linux', folder)).toBe('AMD GPU (WebGPU)');
    file('proc/driver/nvidia/gpus/0000:01:00.0/information', 'Model: \t\t NVIDIA H200\nIRQ: 1\n');
    expect(gpuName('linux', folder)).toBe('NVIDIA H200 (WebGPU)');
    expect(gpuName('darwin')).toBe('GPU (WebGPU over Metal)');
  });

  it('need a device node or a named driver on Linux', () => {
    const dev = path.join(folder, 'dev');
    expect(gpuPossible('linux', {}, dev)).toBe(false);
    expect(gpuPossible('linux', { VK_DRIVER_FILES: 'x.json' }, dev)).toBe(true);
    file('dev/dri/renderD128');
    expect(gpuPossible('linux', {}, dev)).toBe(true);
    expect(gpuPossible('win32', {}, dev)).toBe(true);
  });
});

it('the GPU is chosen when it is faster than the CPU and leaves room for 30 frames/s', () => {
  expect(gpuObjection({ gpuMs: 7, cpuMs: 220 })).toBeUndefined();
  expect(gpuObjection({ gpuMs: 30, cpuMs: 20 })).toContain('no faster');
  expect(gpuObjection({ gpuMs: 40, cpuMs: 220 })).toContain('more than 25 ms');
});

describe('turns', () => {
  it('come one at a time, and pass on after a failure', async () => {
    const turns = new GpuTurns(new SharedArrayBuffer(8));
    const order: string[] = [];
    await turns.run(async () => void order.push('first'));
    await expect(turns.run(() => Promise.reject(new Error('device lost')))).rejects.toThrow('device lost');
    await turns.run(async () => void order.push('second'));
    expect(order).toEqual(['first', 'second']);
  });

  it('pass over a holder that never returns, whose late return takes nothing from the others', async () => {
    const shared = new SharedArrayBuffer(8);
    let finish: () => void = () => undefined;
    const gone = new GpuTurns(shared, 20).run(() => new Promise<void>((resolve) => (finish = resolve)));
    const other = new GpuTurns(shared, 20);
    expect(await other.run(async () => 'served')).toBe('served');
    finish();
    await gone;
    expect(await other.run(async () => 'served again')).toBe('served again');
    expect(Atomics.load(new Int32Array(shared), 1)).toBe(3);
  });
});
