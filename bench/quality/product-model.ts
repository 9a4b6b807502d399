/** A `layout: "yuv420p"` model of models/, run by the server's own code: its manifest, its session, its recurrent state. */
import { onnxModelOf, readManifest } from '../../server/models/manifest.ts';
import { OnnxRunner, type StreamState } from '../../server/upscalers/onnx/runner.ts';
import { newSamples } from '../../server/upscalers/onnx/samples.ts';
import type { OnnxModel } from '../../server/upscalers/spec.ts';
import type { I420 } from './colour.ts';

export interface ProductModel {
  name: string;
  scale: number;
  recurrent: boolean;
  parameters: number;
  /** What the server would load. */
  model: OnnxModel;
  /** Forgets all earlier frames. */
  reset(): void;
  /** The next frame of the clip. */
  upscale(frame: I420): Promise<I420>;
  close(): Promise<void>;
}

/** @param folder models/<name>. @throws AppError model.invalid (manifest, sha256, graph), Error for other kinds and layouts */
export async function loadProductModel(folder: string, threads: number): Promise<ProductModel> {
  const manifest = readManifest(folder);
  if (manifest?.kind !== 'onnx') throw new Error(`${folder} has no manifest.json of an ONNX model`);
  const model = onnxModelOf(folder, manifest);
  const runner = await OnnxRunner.load(model, threads);
  if (runner.layout !== 'yuv420p') throw new Error(`${folder}: layout is ${runner.layout}, expected yuv420p`);
  let memory: { size: string; state: StreamState } | undefined;
  return {
    name: manifest.name,
    scale: runner.scale,
    recurrent: (manifest.recurrentState ?? []).length > 0,
    parameters: Number(manifest['parameters'] ?? NaN),
    model,
    reset: () => (memory = undefined),
    async upscale({ width, height, data }) {
      const size = `${width}x${height}`;
      if (memory?.size !== size) memory = { size, state: runner.newState(width, height) };
      const { scale } = runner;
      const output = newSamples('yuv420p', width * scale, height * scale) as Uint8Array<ArrayBuffer>;
      await runner.run(data, output, width, height, memory.state);
      return { width: width * scale, height: height * scale, data: output };
    },
    close: () => runner.close(),
  };
}
