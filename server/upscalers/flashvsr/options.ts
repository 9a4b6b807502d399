import { z } from 'zod';
import { AppError } from '../../errors.ts';
import type { EngineOptions, StreamOptions, StreamSettings } from './native-types.ts';

/**
 * Options are checked here once, with one uniform sentence per bad argument; the native side only keeps its invariants.
 * Every schema's message is the second half of the sentence "NAME must be ...".
 */
const range = (low: number, high: number): z.ZodType<number> => {
  const error = `a number from ${low} to ${high}`;
  return z.number({ error }).min(low, { error }).max(high, { error });
};
const whole = (low: number, high: number): z.ZodType<number> => {
  const error = `a whole number from ${low} to ${high}`;
  return z.number({ error }).int({ error }).min(low, { error }).max(high, { error });
};
const oneOf = <const T extends readonly string[]>(...names: T) =>
  z.enum(names, { error: `${names.slice(0, -1).join(', ')} or ${names.at(-1)}` });
const text = z.string({ error: 'text' });

const MAX_SIDE = 8192;
const MIN_SIDE = 16;

const settingsSchema = z.strictObject({
  sparseRatio: range(0.01, 64).exactOptional(),
  topkRatio: range(0, 1e6).exactOptional(),
  kvRatio: range(1, 16).exactOptional(),
  localRange: whole(1, 1023).exactOptional(),
  seed: whole(0, Number.MAX_SAFE_INTEGER).exactOptional(),
  colourMatch: oneOf('adain', 'wavelet', 'none').exactOptional(),
});

const streamSchema = z.strictObject({
  sourceWidth: whole(1, MAX_SIDE),
  sourceHeight: whole(1, MAX_SIDE),
  scale: range(0.1, 16).exactOptional(),
  outputWidth: whole(MIN_SIDE, MAX_SIDE).exactOptional(),
  outputHeight: whole(MIN_SIDE, MAX_SIDE).exactOptional(),
  matrix: oneOf('bt601', 'bt709', 'bt2020').exactOptional(),
  range: oneOf('limited', 'full').exactOptional(),
  settings: settingsSchema.exactOptional(),
  decoder: oneOf('tiny', 'wan').exactOptional(),
  coldStartFrames: whole(1, 25).exactOptional(),
  gatherDeadlineMs: whole(0, 600_000).exactOptional(),
  inputQueueFrames: whole(25, 1024).exactOptional(),
  outputQueueFrames: whole(32, 1024).exactOptional(),
  startPosition: whole(0, Number.MAX_SAFE_INTEGER).exactOptional(),
  recordPath: text.exactOptional(),
});

const engineSchema = z.strictObject({
  device: oneOf('auto', 'reference', 'cuda'),
  deviceIndex: whole(0, 63).exactOptional(),
  precision: oneOf('fp32', 'bf16', 'fp8', 'int8').exactOptional(),
  threads: whole(0, 1024).exactOptional(),
  cudaLibraryPath: text.exactOptional(),
  warmUp: streamSchema.exactOptional(),
  hangMs: whole(0, 3_600_000).exactOptional(),
});

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inside, key) => (typeof inside === 'object' && inside !== null ? Reflect.get(inside, key) : undefined),
    value,
  );
}

function shown(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 60 ? `${value.slice(0, 60)}...` : value);
  return typeof value === 'object' && value !== null ? 'an object' : String(value);
}

/** @throws AppError config.invalid: one sentence for each bad argument */
function check<T>(schema: z.ZodType<T>, value: T): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const sentences = parsed.error.issues.map((issue) => {
    if (issue.code === 'unrecognized_keys') return `${issue.keys.join(', ')} is no option of the FlashVSR engine.`;
    const name = issue.path.join('.') || 'The options';
    return `${name} must be ${issue.path.length === 0 ? 'an object' : issue.message}; it is ${shown(valueAt(value, issue.path))}.`;
  });
  throw new AppError('config.invalid', sentences.join(' '), { scope: 'request' });
}

/** @throws AppError config.invalid */
export function checkStreamSettings(settings: StreamSettings): StreamSettings {
  return check<StreamSettings>(settingsSchema, settings);
}

/** @throws AppError config.invalid */
export function checkStreamOptions(options: StreamOptions): StreamOptions {
  const checked = check<StreamOptions>(streamSchema, options);
  if ((checked.outputWidth === undefined) !== (checked.outputHeight === undefined)) {
    throw new AppError('config.invalid', 'outputWidth and outputHeight must be given together.', { scope: 'request' });
  }
  return checked;
}

/** @throws AppError config.invalid */
export function checkEngineOptions(options: EngineOptions): EngineOptions {
  return check<EngineOptions>(engineSchema, options);
}
