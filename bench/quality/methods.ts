/** Every upscaler of the comparison behind one interface: resizes, the shipped models, and public models converted on the fly. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import '../../server/upscalers/onnx/quiet-runtime.ts';
import * as ort from 'onnxruntime-node';
import { sessionOptions } from '../../server/upscalers/onnx/runner.ts';
import type { OnnxModel } from '../../server/upscalers/spec.ts';
import type { TestFrame } from './clips.ts';
import { clampByte, halfSize, i420Chroma, i420Luma, rgbLuma, rgbToI420, type I420 } from './colour.ts';
import { convertNcnn } from './convert/ncnn.ts';
import type { Converted } from './convert/onnx-file.ts';
import { convertTensorflow } from './convert/tensorflow.ts';
import { convertTfjs } from './convert/tfjs.ts';
import { inside } from './metrics.ts';
import { loadProductModel } from './product-model.ts';
import { resizePlane, type Kernel, type Plane } from './resize.ts';

export interface Upscaled {
  /** 0..255, limited range, whole numbers. */
  luma: Plane;
  /** U and V, where the method makes them. */
  chroma?: () => [Plane, Plane];
}

export interface Method {
  name: string;
  scale: number;
  /** needs all earlier frames of the clip */
  recurrent: boolean;
  /** 0 for resizes */
  parameters: number;
  reset(): void;
  upscale(frame: TestFrame): Promise<Upscaled>;
  /** One run of the network alone on a prepared input. Resizes have none: the product's resize is timed instead. */
  timed?(frame: TestFrame): () => Promise<unknown>;
  /** Shipped models: what the server loads. */
  product?: OnnxModel;
  /** Resizes: swscale's name for it. */
  resize?: 'bicubic' | 'lanczos';
  close(): Promise<void>;
}

const round8 = (plane: Plane): Plane => ({ ...plane, data: plane.data.map(clampByte) });

/** U and V for a picture `scale` times as large; of odd sides the sample beyond the edge is cut off. */
export function enlargeChroma(i420: I420, scale: number, kernel: Kernel): [Plane, Plane] {
  const [width, height] = [halfSize(i420.width * scale), halfSize(i420.height * scale)];
  return i420Chroma(i420).map((plane) => {
    const whole = resizePlane(plane, plane.width * scale, plane.height * scale, kernel);
    return inside(round8(whole), 0, width, height);
  }) as [Plane, Plane];
}

function resizeMethod(name: string, kernel: Kernel, scale: number): Method {
  const enlarge = (plane: Plane): Plane =>
    round8(resizePlane(plane, plane.width * scale, plane.height * scale, kernel));
  return {
    name,
    scale,
    recurrent: false,
    parameters: 0,
    resize: kernel === 'bicubic' ? 'bicubic' : 'lanczos',
    reset: () => undefined,
    upscale: async ({ luma, i420 }) => ({ luma: enlarge(luma), chroma: () => enlargeChroma(i420, scale, kernel) }),
    close: async () => undefined,
  };
}

async function shippedMethod(folder: string, threads: number): Promise<Method> {
  const shipped = await loadProductModel(folder, threads);
  return {
    name: shipped.name,
    scale: shipped.scale,
    recurrent: shipped.recurrent,
    parameters: shipped.parameters,
    product: shipped.model,
    reset: () => shipped.reset(),
    upscale: async ({ i420 }) => {
      const result = await shipped.upscale(i420);
      return { luma: i420Luma(result), chroma: () => i420Chroma(result) };
    },
    timed: (frame) => () => shipped.upscale(frame.i420),
    close: () => shipped.close(),
  };
}

interface PublicModel {
  name: string;
  files: string[];
  input: 'luma' | 'rgb';
  convert: (files: Buffer[]) => Converted;
}

const text = (file?: Buffer): string => file?.toString('utf8') ?? '';
const bytes = (file?: Buffer): Buffer => file ?? Buffer.alloc(0);

const frozenGraph = (name: string): PublicModel => ({
  name,
  files: [`models/opencv_pb/${name}_x4.pb`],
  input: 'luma',
  convert: ([file]) => convertTensorflow(bytes(file)),
});

const srvgg = (name: string, file: string): PublicModel => ({
  name,
  files: [`models/ncnn_srvgg/${file}.param`, `models/ncnn_srvgg/${file}.bin`],
  input: 'rgb',
  convert: ([param, weights]) => convertNcnn(text(param), bytes(weights)),
});

/** All x4. */
const PUBLIC: PublicModel[] = [
  frozenGraph('FSRCNN-small'),
  frozenGraph('FSRCNN'),
  frozenGraph('ESPCN'),
  {
    name: 'esrgan-slim',
    files: ['models/upscalerjs_esrgan-slim_x4/model.json', 'models/upscalerjs_esrgan-slim_x4/group1-shard1of1.bin'],
    input: 'rgb',
    convert: ([json, weights]) => convertTfjs(text(json), bytes(weights)),
  },
  srvgg('4xLSDIRCompactC3', '4xLSDIRCompactC3'),
  srvgg('realesr-animevideov3', 'realesr-animevideov3-x4'),
  srvgg('realesr-general-x4v3', 'RealESRGAN_General_x4_v3'),
  srvgg('realesr-general-wdn-x4v3', 'RealESRGAN_General_WDN_x4_v3'),
];

export const PUBLIC_NAMES: readonly string[] = PUBLIC.map(({ name }) => name);
export const RESIZE_NAMES: readonly string[] = ['bicubic', 'Lanczos'];

/** Files of the named public models that are not in `data`. */
export const missingModels = (data: string, names: readonly string[]): string[] =>
  PUBLIC.filter(({ name }) => names.includes(name))
    .flatMap(({ files }) => files)
    .filter((file) => !existsSync(join(data, file)));

function networkInput(kind: 'luma' | 'rgb', { rgb, luma }: TestFrame): ort.Tensor {
  const { width, height, data } = rgb;
  if (kind === 'rgb')
    return new ort.Tensor('float32', data.map((value) => value / 255) as Float32Array, [1, 3, height, width]);
  // These networks were trained on full-range luma in [0, 1].
  const full = luma.data.map((value) => Math.max(0, Math.min(1, (value - 16) / 219)));
  return new ort.Tensor('float32', full, [1, 1, height, width]);
}

async function publicMethod(model: PublicModel, data: string, threads: number): Promise<Method> {
  const { file, parameters } = model.convert(model.files.map((name) => readFileSync(join(data, name))));
  const session = await ort.InferenceSession.create(file, sessionOptions(threads));
  return {
    name: model.name,
    scale: 4,
    recurrent: false,
    parameters,
    reset: () => undefined,
    async upscale(frame) {
      const { output } = await session.run({ input: networkInput(model.input, frame) });
      if (!output) throw new Error(`${model.name}: no output`);
      const [, , height = 0, width = 0] = output.dims;
      const values = output.data as Float32Array;
      if (model.input === 'luma')
        return { luma: round8({ width, height, data: values.map((value) => 16 + 219 * value) }) };
      const picture = { width, height, data: values.map((value) => clampByte(value * 255)) };
      return { luma: round8(rgbLuma(picture)), chroma: () => i420Chroma(rgbToI420(picture)) };
    },
    timed: (frame) => {
      const input = networkInput(model.input, frame);
      return () => session.run({ input });
    },
    close: () => session.release(),
  };
}

export interface MethodOptions {
  /** The project's models folder. */
  models: string;
  /** Names of shipped models, as folders of `models`. */
  shipped: readonly string[];
  /** Folder of --data; only needed for public models. */
  data: string;
  threads: number;
  names: readonly string[];
}

/** In the order of the tables: resizes, ours, public ones. Loaded all at once; close each. */
export async function loadMethods(options: MethodOptions, scale: number): Promise<Method[]> {
  const { models, shipped, data, threads, names } = options;
  const methods: Method[] = [];
  const wanted = (name: string): boolean => names.includes(name);
  if (wanted('bicubic')) methods.push(resizeMethod('bicubic', 'bicubic', scale));
  if (wanted('Lanczos')) methods.push(resizeMethod('Lanczos', 'lanczos3', scale));
  for (const name of shipped.filter(wanted)) {
    const method = await shippedMethod(join(models, name), threads);
    if (method.scale === scale) methods.push(method);
    else await method.close();
  }
  if (scale !== 4) return methods;
  for (const model of PUBLIC) if (wanted(model.name)) methods.push(await publicMethod(model, data, threads));
  return methods;
}
