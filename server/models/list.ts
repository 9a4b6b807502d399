import { availableModels, modelRoots, type AvailableModel } from './resolve.ts';

/** `npm start -- --model` with no name: what a name may be here, one line each. */
export function modelList(roots: readonly string[] = modelRoots()): string {
  const models = availableModels(roots).map(rowOf);
  const rows: readonly (readonly [string, string])[] = [
    ['auto', 'the default: an imported FlashVSR where CUDA is usable, else the model below marked "auto", else resize'],
    ['resize', 'bicubic or Lanczos by --model.filter, any --scale; no super-resolution'],
    ...models,
    ['flashvsr-synthetic', 'FlashVSR with random weights, for measuring'],
    ['FOLDER or FILE', 'a folder with a manifest.json, or an .onnx file'],
  ];
  const width = Math.max(...rows.map(([name]) => name.length));
  return [
    'Models for --model:',
    ...rows.map(([name, what]) => `  ${name.padEnd(width)}  ${what}`),
    ...(models.some(([, what]) => what.startsWith('FlashVSR'))
      ? []
      : ['FlashVSR is not here yet: npm run cli -- models pull flashvsr-v1.1']),
  ].join('\n');
}

function rowOf({ name, manifest }: AvailableModel): readonly [string, string] {
  if (manifest.kind === 'flashvsr') return [name, `FlashVSR, ${manifest.label ?? manifest.name}`];
  const { scale, fallbacks = [], auto, licence } = manifest;
  const parts = [
    `ONNX x${scale}`,
    ...(auto ? [`auto for --scale ${scale}`] : []),
    ...(fallbacks.length > 0 ? [`under overload ${[...fallbacks, 'resize'].join(', then ')}`] : []),
    ...(licence === undefined ? [] : [licence]),
  ];
  return [name, parts.join('; ')];
}
