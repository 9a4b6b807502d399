import type { OnnxModel } from '../../spec.ts';
import type { ProbeMessage } from './probe-gpu.ts';
import { OnnxRunner } from '../runner.ts';
import { newSamples } from '../samples.ts';

/** Times one model on both devices and sends what it found to the process that asked. */

const [WIDTH, HEIGHT] = [320, 180];
const GPU_FRAMES = 12;
const CPU_FRAMES = 2;

/** The fastest frame after the first, which also loads and compiles. */
async function fastestMs(model: OnnxModel, threads: number, frames: number): Promise<number> {
  const runner = await OnnxRunner.load(model, threads);
  const [width, height] = [runner.fixedWidth ?? WIDTH, runner.fixedHeight ?? HEIGHT];
  const input = newSamples(runner.layout, width, height).fill(0.5);
  const output = newSamples(runner.layout, width * runner.scale, height * runner.scale);
  const state = runner.newState(width, height);
  let fastest = Number.POSITIVE_INFINITY;
  for (let frame = 0; frame <= frames; frame += 1) {
    const startedAt = performance.now();
    await runner.run(input, output, width, height, state);
    if (frame > 0) fastest = Math.min(fastest, performance.now() - startedAt);
  }
  await runner.close();
  return fastest;
}

process.once('message', (message) => {
  const { model, threads } = message as { readonly model: OnnxModel; readonly threads: number };
  const { gpu: _, ...onCpu } = model;
  const answer = (found: ProbeMessage): void => void process.send?.(found);
  void (async () => {
    const gpuMs = await fastestMs({ ...model, gpu: 'required' }, threads, GPU_FRAMES);
    answer({ gpuMs, cpuMs: await fastestMs(onCpu, threads, CPU_FRAMES) });
  })().catch((error: unknown) => answer({ problem: error instanceof Error ? error.message : String(error) }));
});
