import { expect, it } from 'vitest';
import { AppError } from '../../../errors.ts';
import { checkEngineOptions, checkStreamOptions, checkStreamSettings } from '../options.ts';

const stream = { sourceWidth: 352, sourceHeight: 192 };

function sentenceOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).code).toBe('config.invalid');
    return (error as AppError).message;
  }
  throw new Error('was accepted');
}

it('accepts good options unchanged', () => {
  const options = { ...stream, scale: 2.5, settings: { sparseRatio: 1.5, seed: 7, colourMatch: 'wavelet' as const } };
  expect(checkStreamOptions(options)).toEqual(options);
  expect(checkEngineOptions({ device: 'cuda', precision: 'bf16', deviceIndex: 1 }).deviceIndex).toBe(1);
  expect(checkEngineOptions({ device: 'cuda', precision: 'int8' }).precision).toBe('int8');
});

it.each([
  [{ ...stream, sourceWidth: 0 }, 'sourceWidth must be a whole number from 1 to 8192; it is 0.'],
  [{ ...stream, sourceHeight: 1.5 }, 'sourceHeight must be a whole number from 1 to 8192; it is 1.5.'],
  [{ ...stream, scale: Number.NaN }, 'scale must be a number from 0.1 to 16; it is NaN.'],
  [{ ...stream, outputWidth: 15, outputHeight: 64 }, 'outputWidth must be a whole number from 16 to 8192; it is 15.'],
  [{ ...stream, matrix: 'rgb' }, 'matrix must be bt601, bt709 or bt2020; it is "rgb".'],
  [{ ...stream, range: 7 }, 'range must be limited or full; it is 7.'],
  [{ ...stream, coldStartFrames: 26 }, 'coldStartFrames must be a whole number from 1 to 25; it is 26.'],
  [{ ...stream, settings: { kvRatio: 0 } }, 'settings.kvRatio must be a number from 1 to 16; it is 0.'],
  [{ ...stream, settings: { seed: -1 } }, 'settings.seed must be a whole number from 0 to 9007199254740991; it is -1.'],
  [{ ...stream, colour: 1 }, 'colour is no option of the FlashVSR engine.'],
  [undefined, 'The options must be an object; it is undefined.'],
])('says what is wrong with %j in one sentence', (options, sentence) => {
  expect(sentenceOf(() => checkStreamOptions(options as never))).toBe(sentence);
});

it('lists every bad argument at once', () => {
  const message = sentenceOf(() => checkStreamSettings({ sparseRatio: 'a lot', localRange: 0 } as never));
  expect(message).toBe(
    'sparseRatio must be a number from 0.01 to 64; it is "a lot". localRange must be a whole number from 1 to 1023; it is 0.',
  );
});

it('wants both output sides or none', () => {
  expect(sentenceOf(() => checkStreamOptions({ ...stream, outputWidth: 640 }))).toContain('must be given together');
});
