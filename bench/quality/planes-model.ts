/** Runs a `layout: "yuv420p"` model of models/ as the server does: I420 in, I420 out, recurrent state kept between frames. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';

/** Tightly packed I420: luma, then U, then V, chroma sizes rounded up. */
export interface I420 {
  width: number;
  height: number;
  data: Uint8Array;
}

/** What models/<name>/manifest.json holds, as far as the benchmark reads it. */
export interface ModelManifest {
  name: string;
  file: string;
  scale: number;
  layout: string;
  parameters: number;
  recurrentState: { input: string; output: string; channels: number; divisor: number }[];
}

export interface PlanesModel {
  manifest: ModelManifest;
  reset(): void;
  upscale(frame: I420): Promise<I420>;
}

export const halfSize = (size: number): number => Math.ceil(size / 2);

/** @param folder models/<name>; throws when the manifest or the graph cannot be read */
export async function loadPlanesModel(folder: string, threads = 2): Promise<PlanesModel> {
  const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as ModelManifest;
  if (manifest.layout !== 'yuv420p') throw new Error(`${folder}: layout is ${manifest.layout}, expected yuv420p`);
  const session = await ort.InferenceSession.create(join(folder, manifest.file), {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    graphOptimizationLevel: 'all',
  });
  let state: Record<string, ort.Tensor> = {};
  return {
    manifest,
    reset: () => (state = {}),
    async upscale({ width, height, data }) {
      const [w, h] = [halfSize(width), halfSize(height)];
      const feeds: Record<string, ort.Tensor> = {
        luma: new ort.Tensor('uint8', data.subarray(0, width * height), [1, 1, height, width]),
        chroma: new ort.Tensor('uint8', data.subarray(width * height, width * height + 2 * w * h), [1, 2, h, w]),
      };
      for (const { input, channels } of manifest.recurrentState)
        feeds[input] = state[input] ?? new ort.Tensor('uint8', new Uint8Array(channels * w * h), [1, channels, h, w]);
      const results = await session.run(feeds);
      state = {};
      for (const { input, output } of manifest.recurrentState) {
        const kept = results[output];
        if (!kept) throw new Error(`${manifest.name}: the graph has no output ${output}`);
        state[input] = kept;
      }
      const { upscaled_luma: luma, upscaled_chroma: chroma } = results;
      if (!luma || !chroma) throw new Error(`${manifest.name}: the graph lacks upscaled_luma or upscaled_chroma`);
      const out = new Uint8Array(luma.size + chroma.size);
      out.set(luma.data as Uint8Array);
      out.set(chroma.data as Uint8Array, luma.size);
      return { width: width * manifest.scale, height: height * manifest.scale, data: out };
    },
  };
}
