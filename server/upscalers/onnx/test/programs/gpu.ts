import { makePicture } from '../../../../../testing/pictures.ts';
import { AppError } from '../../../../errors.ts';
import type { Picture } from '../../../../media/picture.ts';
import type { OnnxModel } from '../../../spec.ts';
import { prepareGpuTurns } from '../../gpu-turns.ts';
import { OnnxUpscaler } from '../../upscaler.ts';

/**
 * Upscales a few frames in `streams` upscalers at once, as pipelines do, and prints what came out. A separate process: the Vulkan driver is
 * chosen by environment variables that are read once.
 */

interface Request {
  readonly model: OnnxModel;
  readonly fallbacks: readonly OnnxModel[];
  readonly upscalers: number;
  readonly frames: number;
}

const [WIDTH, HEIGHT] = [15, 12];

interface Frames {
  readonly results: readonly (readonly number[])[];
  readonly errors: readonly string[];
}

async function frames(upscaler: OnnxUpscaler, count: number): Promise<Frames> {
  const results: Picture[] = [];
  const errors: AppError[] = [];
  const stream = await upscaler.openStream(
    { sourceWidth: WIDTH, sourceHeight: HEIGHT },
    { onPicture: (picture) => results.push(picture), onError: (error) => errors.push(error) },
  );
  for (let frame = 0; frame < count; frame += 1) {
    while (!stream.ready) await new Promise((resolve) => setTimeout(resolve, 1));
    stream.push(makePicture(WIDTH, HEIGHT, frame, (x, y) => 100 + 10 * frame + x + y));
  }
  await stream.flush();
  await stream.close();
  return {
    results: results.map(({ y, u, yStride, uvStride }) =>
      [y[0], y[59 + 47 * yStride], u[0], u[29 + 23 * uvStride]].map(Number),
    ),
    errors: errors.map(({ code, scope }) => `${code} (${scope})`),
  };
}

try {
  const request = JSON.parse(process.argv[2] ?? '') as Request;
  prepareGpuTurns();
  const upscalers = await Promise.all(
    Array.from({ length: request.upscalers }, () =>
      OnnxUpscaler.load({ kind: 'onnx', model: request.model, fallbacks: request.fallbacks, threads: 1 }),
    ),
  );
  const found = await Promise.all(upscalers.map((upscaler) => frames(upscaler, request.frames)));
  const [results, errors] = [found.map((one) => one.results), found.flatMap((one) => one.errors)];
  console.log(JSON.stringify({ device: upscalers[0]?.info.device, results, errors }));
  await Promise.all(upscalers.map((upscaler) => upscaler.close()));
} catch (error) {
  const { code, message } = AppError.from(error, 'internal');
  console.log(JSON.stringify({ code, message }));
}
process.exit(0);
