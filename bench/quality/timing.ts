/** Milliseconds a frame: the networks alone in the product's session, and the product's whole upscale step. */
import { cpus, loadavg } from 'node:os';
import { OnnxUpscaler } from '../../server/upscalers/onnx/upscaler.ts';
import { ResizeUpscaler } from '../../server/upscalers/resize/upscaler.ts';
import { newTrace } from '../../server/media/steps.ts';
import type { Upscaler } from '../../server/upscalers/upscaler.ts';
import type { TestFrame } from './clips.ts';
import { i420Luma, i420ToRgb, halfSize, type I420 } from './colour.ts';
import type { Method } from './methods.ts';
import type { Picture } from '../../server/media/picture.ts';

export interface Timing {
  method: string;
  /** `network`: one run on prepared tensors. `product`: picture in to picture out through the server's upscaler and its thread. */
  what: 'network' | 'product';
  input: string;
  threads: number;
  medianMs: number;
  fastestTenthMs: number;
  runs: number;
}

export interface MachineState {
  loadAverage: number[];
  /** Of all cores over a second just before; anything above a few percent is another program. */
  busyPercent: number;
}

const cpuTimes = (): { busy: number; all: number } =>
  cpus().reduce(
    (sum, { times }) => {
      const all = times.user + times.nice + times.sys + times.idle + times.irq;
      return { busy: sum.busy + all - times.idle, all: sum.all + all };
    },
    { busy: 0, all: 0 },
  );

export async function machineState(): Promise<MachineState> {
  const before = cpuTimes();
  await new Promise((resolve) => setTimeout(resolve, 1000));
  const after = cpuTimes();
  return {
    loadAverage: loadavg().map((value) => Number(value.toFixed(2))),
    busyPercent: Math.round((100 * (after.busy - before.busy)) / (after.all - before.all)),
  };
}

/** Smooth shapes, edges and texture: no value of these networks' run time depends on the content, so any picture does. */
export function timingFrame(width: number, height: number): TestFrame {
  const [w, h] = [halfSize(width), halfSize(height)];
  const data = new Uint8Array(width * height + 2 * w * h).fill(128);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++)
      data[y * width + x] = 125 + 60 * Math.sin(x / 9) * Math.cos(y / 7) + ((x * 7 + y * 13) % 40);
  const i420: I420 = { width, height, data };
  const luma = i420Luma(i420);
  return { i420, rgb: i420ToRgb(i420), luma, truth: luma, truthChroma: [luma, luma] };
}

interface Entry {
  method: Method;
  what: Timing['what'];
  run: () => Promise<unknown>;
  ms: number[];
}

const PER_TURN = 3;

/** Turns over all methods, so that a busy moment of the machine hits all alike. @param rounds turns; each has 3 runs */
export async function timeMethods(
  methods: readonly Method[],
  size: { width: number; height: number },
  threads: number,
  rounds: number,
): Promise<Timing[]> {
  const frame = timingFrame(size.width, size.height);
  const upscalers: Upscaler[] = [];
  const entries: Entry[] = [];
  for (const method of methods) {
    method.reset();
    const network = method.timed?.(frame);
    if (network) entries.push({ method, what: 'network', run: network, ms: [] });
    const upscaler = await productUpscaler(method, threads);
    if (!upscaler) continue;
    upscalers.push(upscaler);
    entries.push({ method, what: 'product', run: await productRun(upscaler, frame.i420), ms: [] });
  }
  for (const { run } of entries) for (let k = 0; k < PER_TURN; k++) await run();
  for (let round = 0; round < rounds; round++)
    for (const { run, ms } of entries)
      for (let k = 0; k < PER_TURN; k++) {
        const begin = performance.now();
        await run();
        ms.push(performance.now() - begin);
      }
  await Promise.all(upscalers.map((upscaler) => upscaler.close()));
  return entries.map(({ method, what, ms }) => {
    ms.sort((a, b) => a - b);
    const at = (share: number): number => Number((ms[Math.floor(share * (ms.length - 1))] ?? NaN).toFixed(2));
    const input = `${size.width}x${size.height}`;
    return { method: method.name, what, input, threads, medianMs: at(0.5), fastestTenthMs: at(0.1), runs: ms.length };
  });
}

async function productUpscaler({ product, resize, scale }: Method, threads: number): Promise<Upscaler | undefined> {
  if (product) return OnnxUpscaler.load({ kind: 'onnx', model: product, threads, fallbacks: [] });
  if (resize) return new ResizeUpscaler({ kind: 'resize', scale, filter: resize });
  return undefined;
}

async function productRun(upscaler: Upscaler, i420: I420): Promise<() => Promise<void>> {
  let done: (error?: Error) => void = () => undefined;
  const stream = await upscaler.openStream(
    { sourceWidth: i420.width, sourceHeight: i420.height },
    {
      onPicture: (picture) => {
        picture.release?.();
        done();
      },
      onError: (error) => done(error),
    },
  );
  let mediaTime = 0;
  return () =>
    new Promise((resolve, reject) => {
      done = (error) => (error ? reject(error) : resolve());
      mediaTime += 3000;
      const taken = stream.push(asPicture(i420, mediaTime));
      if (taken !== 'accepted') reject(new Error(`the upscaler's stream says ${taken}`));
    });
}

/** The server's view of a frame, without a copy. */
export function asPicture({ width, height, data }: I420, mediaTime: number): Picture {
  const [luma, chroma] = [width * height, halfSize(width) * halfSize(height)];
  return {
    width,
    height,
    y: data.subarray(0, luma),
    u: data.subarray(luma, luma + chroma),
    v: data.subarray(luma + chroma),
    yStride: width,
    uvStride: halfSize(width),
    colour: { matrix: 'bt601', range: 'limited' },
    mediaTime,
    trace: newTrace(0, 0),
  };
}
