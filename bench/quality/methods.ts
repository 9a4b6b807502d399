/** Every upscaler of the comparison behind one interface: resizes, the shipped models, and public models converted on the fly. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as ort from 'onnxruntime-node';
import type { TestFrame } from './clips.ts';
import { i420Luma, rgbLuma } from './colour.ts';
import { convertNcnn } from './convert/ncnn.ts';
import { convertTensorflow } from './convert/tensorflow.ts';
import { convertTfjs } from './convert/tfjs.ts';
import type { I420 } from './planes-model.ts';
import { loadPlanesModel } from './planes-model.ts';
import type { Kernel, Plane } from './resize.ts';
import { resizePlane } from './resize.ts';

export interface Method {
  name: string;
  scale: number;
  /** needs all earlier frames of the clip */
  recurrent: boolean;
  parameters: number;
  reset(): void;
  /** Luma in 0..255 (limited range), scale times the frame's size. */
  luma(frame: TestFrame): Promise<Plane>;
  /** One run of the network alone on a prepared input; undefined where there is none (resizes). */
  timed?: (frame: TestFrame) => () => Promise<unknown>;
}

const round8 = (plane: Plane): Plane => ({
  ...plane,
  data: plane.data.map((v) => Math.max(0, Math.min(255, Math.round(v)))),
});

function resizeMethod(name: string, kernel: Kernel, scale: number): Method {
  return {
    name,
    scale,
    recurrent: false,
    parameters: 0,
    reset: () => undefined,
    luma: async ({ luma }) => round8(resizePlane(luma, luma.width * scale, luma.height * scale, kernel)),
  };
}

async function planesMethod(folder: string, threads: number): Promise<Method> {
  const model = await loadPlanesModel(folder, threads);
  const { manifest } = model;
  return {
    name: manifest.name,
    scale: manifest.scale,
    recurrent: manifest.recurrentState.length > 0,
    parameters: manifest.parameters,
    reset: () => model.reset(),
    luma: async ({ i420 }) => i420Luma(await model.upscale(i420)),
    timed:
      ({ i420 }) =>
      () =>
        model.upscale(i420),
  };
}

/** Weights of a converted model: its file is little else. */
const countParameters = (file: Uint8Array): number => Math.round(file.length / 4);

interface PublicModel {
  name: string;
  files: string[];
  input: 'luma' | 'rgb';
  convert: (files: Buffer[]) => Uint8Array;
}

const pb = (name: string): PublicModel => ({
  name,
  files: [`models/opencv_pb/${name}_x4.pb`],
  input: 'luma',
  convert: ([file]) => convertTensorflow(file ?? Buffer.alloc(0)),
});

const srvgg = (name: string, file: string): PublicModel => ({
  name,
  files: [`models/ncnn_srvgg/${file}.param`, `models/ncnn_srvgg/${file}.bin`],
  input: 'rgb',
  convert: ([text, weights]) => convertNcnn(text?.toString('utf8') ?? '', weights ?? Buffer.alloc(0)),
});

const PUBLIC: PublicModel[] = [
  pb('FSRCNN-small'),
  pb('FSRCNN'),
  pb('ESPCN'),
  {
    name: 'esrgan-slim',
    files: ['models/upscalerjs_esrgan-slim_x4/model.json', 'models/upscalerjs_esrgan-slim_x4/group1-shard1of1.bin'],
    input: 'rgb',
    convert: ([json, weights]) => convertTfjs(json?.toString('utf8') ?? '', weights ?? Buffer.alloc(0)),
  },
  srvgg('4xLSDIRCompactC3', '4xLSDIRCompactC3'),
  srvgg('realesr-animevideov3', 'realesr-animevideov3-x4'),
  srvgg('RealESRGAN-general-x4v3', 'RealESRGAN_General_x4_v3'),
];

/** Files of the public models that are not in `data`. */
export const missingModels = (data: string): string[] =>
  PUBLIC.flatMap(({ files }) => files).filter((file) => !existsSync(join(data, file)));

function publicInput(kind: 'luma' | 'rgb', { rgb, luma }: TestFrame): ort.Tensor {
  const { width, height, data } = rgb;
  if (kind === 'rgb')
    return new ort.Tensor(
      'float32',
      data.map((value) => value / 255),
      [1, 3, height, width],
    );
  // These networks were trained on full-range luma in [0, 1].
  const full = luma.data.map((value) => Math.max(0, Math.min(1, (value - 16) / 219)));
  return new ort.Tensor('float32', full, [1, 1, height, width]);
}

async function publicMethod(model: PublicModel, data: string, threads: number): Promise<Method> {
  const file = model.convert(model.files.map((name) => readFileSync(join(data, name))));
  const session = await ort.InferenceSession.create(file, { intraOpNumThreads: threads, interOpNumThreads: 1 });
  return {
    name: model.name,
    scale: 4,
    recurrent: false,
    parameters: countParameters(file),
    reset: () => undefined,
    async luma(frame) {
      const { output } = await session.run({ input: publicInput(model.input, frame) });
      if (!output) throw new Error(`${model.name}: no output`);
      const [, , height = 0, width = 0] = output.dims;
      const values = output.data as Float32Array;
      if (model.input === 'luma') return round8({ width, height, data: values.map((value) => 16 + 219 * value) });
      const picture = values.map((value) => Math.max(0, Math.min(255, Math.round(value * 255))));
      return round8(rgbLuma({ width, height, data: picture }));
    },
    timed: (frame) => {
      const input = publicInput(model.input, frame);
      return () => session.run({ input });
    },
  };
}

/** @param models the project's models folder; `only` restricts to these names */
export async function loadMethods(options: {
  models: string;
  data: string;
  threads: number;
  scale: number;
  only?: string[];
}): Promise<Method[]> {
  const { models, data, threads, scale, only } = options;
  const wanted = (name: string): boolean => !only || only.includes(name);
  const methods = [resizeMethod('bicubic', 'bicubic', scale), resizeMethod('Lanczos', 'lanczos3', scale)];
  for (const name of scale === 4 ? ['nano', 'mini'] : ['nano-x2'])
    methods.push(await planesMethod(join(models, name), threads));
  if (scale === 4)
    for (const model of PUBLIC) if (wanted(model.name)) methods.push(await publicMethod(model, data, threads));
  return methods.filter(({ name }) => wanted(name));
}

/** A 16:9 frame with detail in it, for timing. */
export function timingFrame(width: number, height: number): TestFrame {
  const rgb = {
    width,
    height,
    data: Float32Array.from({ length: 3 * width * height }, (_, i) => (i * 2654435761) % 256),
  };
  const data = Uint8Array.from({ length: width * height * 1.5 }, (_, i) => (i * 2654435761) % 256);
  const i420: I420 = { width, height, data };
  return { rgb, i420, luma: i420Luma(i420), truth: { width: 0, height: 0, data: new Float32Array(0) } };
}
