import { SupervisedChild } from '../../../supervised-child.ts';
import type { OnnxModel } from '../../spec.ts';
import { gpuPossible } from '../gpu-name.ts';

/** What a model takes for a frame of 320x180 on this machine's GPU and on its CPU. */
export interface GpuTimes {
  readonly gpuMs: number;
  readonly cpuMs: number;
}

/** What the child process sends. */
export type ProbeMessage = GpuTimes | { readonly problem: string };

/** A GPU that takes longer leaves no room for 30 frames/s. */
export const GPU_BUDGET_MS = 25;
const PATIENCE_MS = 30_000;
export const NO_GPU = 'there is no GPU here';

/** Whether a GPU should do it. @returns undefined, or why not */
export function gpuObjection({ gpuMs, cpuMs }: GpuTimes): string | undefined {
  const times = `${gpuMs.toFixed(1)} ms a frame of 320x180 on the GPU, ${cpuMs.toFixed(1)} ms on the CPU`;
  if (gpuMs >= cpuMs) return `the GPU is no faster: ${times}`;
  return gpuMs > GPU_BUDGET_MS ? `the GPU takes more than ${GPU_BUDGET_MS} ms: ${times}` : undefined;
}

/**
 * Runs the model on the GPU and on the CPU for a moment. In a separate process: a graphics driver that crashes takes nothing else along.
 *
 * @returns undefined when the GPU should do it, else the reason why not
 */
export async function probeGpu(
  model: OnnxModel,
  threads: number,
  patienceMs = PATIENCE_MS,
): Promise<string | undefined> {
  if (!gpuPossible()) return NO_GPU;
  const message = await new Promise<ProbeMessage>((resolve) => {
    const child = new SupervisedChild({
      module: new URL('./work.ts', import.meta.url),
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      onMessage: (answer) => end(answer as ProbeMessage),
    });
    const end = (answer: ProbeMessage): void => {
      resolve(answer);
      child.kill();
    };
    child.limit(patienceMs, () => end({ problem: `no answer within ${patienceMs} ms` }));
    void child.ended.then(({ how }) => end({ problem: `its process ended (${how})` }));
    child.send({ model, threads });
  });
  return 'problem' in message ? message.problem : gpuObjection(message);
}
