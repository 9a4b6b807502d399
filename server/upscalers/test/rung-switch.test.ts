import { expect, it } from 'vitest';
import { makePicture } from '../../../testing/pictures.ts';
import { AppError } from '../../errors.ts';
import type { PushResult, StreamFormat, Upscaler, UpscalerListener, UpscalerStream } from '../upscaler.ts';
import { LadderedUpscaler } from '../laddered-upscaler.ts';
import { RungSwitch } from '../rung-switch.ts';
import type { Picture } from '../../media/picture.ts';

/** Holds pictures back like a chunked model: only `give` or a flush lets them out. One picture of room: like a small model. */
class FakeStream implements UpscalerStream {
  readonly outputWidth: number;
  readonly outputHeight: number;
  readonly listener: UpscalerListener;
  readonly inside: Picture[] = [];
  readonly rungs: number[] = [];
  busyUs = 0;
  closed = false;
  readonly #room: number;
  readonly #name: number;
  constructor(format: StreamFormat, listener: UpscalerListener, room: number, name: number) {
    this.outputWidth = format.sourceWidth * 4;
    this.outputHeight = format.sourceHeight * 4;
    this.listener = listener;
    this.#room = room;
    this.#name = name;
  }
  get pending(): number {
    return this.inside.length;
  }
  get ready(): boolean {
    return !this.closed && this.inside.length < this.#room;
  }
  push(picture: Picture): PushResult {
    if (!this.ready) return 'full';
    this.inside.push(picture);
    return 'accepted';
  }
  give(): void {
    const picture = this.inside.shift();
    if (picture === undefined) return;
    // Whose result it is shows in its size: the small model's is smaller here and has to be fitted.
    const side = this.#name === 0 ? [this.outputWidth, this.outputHeight] : [16, 16];
    this.listener.onPicture(makePicture(side[0] ?? 0, side[1] ?? 0, picture.mediaTime, () => 50 + 100 * this.#name));
  }
  setRung(rung: number): void {
    this.rungs.push(rung);
  }
  async flush(): Promise<void> {
    await turn();
    while (this.inside.length > 0) this.give();
  }
  async close(): Promise<void> {
    this.closed = true;
  }
}

class FakeUpscaler implements Upscaler {
  readonly info;
  readonly streams: FakeStream[] = [];
  closed = 0;
  readonly #room: number;
  readonly #name: number;
  constructor(rungs: readonly string[], room: number, name: number) {
    this.info = {
      kind: 'flashvsr' as const,
      label: rungs[0] ?? '',
      superResolution: true,
      scale: 4,
      device: 'test',
      lookAheadFrames: 4,
      chunkFrames: 8,
      rungs,
    };
    this.#room = room;
    this.#name = name;
  }
  async openStream(format: StreamFormat, listener: UpscalerListener): Promise<UpscalerStream> {
    const stream = new FakeStream(format, listener, this.#room, this.#name);
    this.streams.push(stream);
    return stream;
  }
  async close(): Promise<void> {
    this.closed += 1;
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const turns = async (count: number): Promise<void> => {
  for (let index = 0; index < count; index += 1) await turn();
};

async function bench(load?: () => Promise<Upscaler>) {
  const main = new FakeUpscaler(['all', 'half'], 24, 0);
  const small = new FakeUpscaler(['nano'], 1, 1);
  let loads = 0;
  const upscaler = new LadderedUpscaler({
    main,
    small: {
      label: 'nano x4',
      load: async () => {
        loads += 1;
        await turn();
        return load === undefined ? small : load();
      },
    },
  });
  const results: Picture[] = [];
  const errors: AppError[] = [];
  const stream = await upscaler.openStream(
    { sourceWidth: 16, sourceHeight: 16 },
    { onPicture: (picture) => results.push(picture), onError: (error) => errors.push(error) },
  );
  const [mainStream] = main.streams as [FakeStream];
  let number = 0;
  const push = (count: number): PushResult[] =>
    Array.from({ length: count }, () => stream.push(makePicture(16, 16, (number += 1))));
  return { main, small, upscaler, stream, mainStream, results, errors, push, loads: () => loads };
}

/** Which upscaler made each result: 0 main, 1 small. */
const makers = (results: readonly Picture[]): number[] => results.map(({ y }) => ((y[0] ?? 0) > 100 ? 1 : 0));

it('stands before the last rung, and is loaded when it is needed', async () => {
  const { upscaler, stream, mainStream, loads } = await bench();
  expect(upscaler.info).toMatchObject({ rungs: ['all', 'half', 'nano x4', 'bicubic resize'], chunkedRungs: 2 });
  stream.setRung(1);
  await turns(3);
  expect(loads()).toBe(0);
  // The rung behind it needs none of it.
  stream.setRung(3);
  await turns(3);
  expect([mainStream.rungs, loads()]).toEqual([[1], 0]);
  await upscaler.close();
});

it('takes over in order and without a gap, and gives back', async () => {
  const { small, stream, mainStream, results, errors, push } = await bench();
  push(6);
  stream.setRung(2);
  // The main upscaler works on while the small one is loaded.
  expect(push(2)).toEqual(['accepted', 'accepted']);
  expect(mainStream.inside).toHaveLength(8);
  await turns(1);
  // Being emptied: what comes now waits.
  expect(push(3)).toEqual(['accepted', 'accepted', 'accepted']);
  await turns(4);
  const [smallStream] = small.streams as [FakeStream];
  expect(makers(results)).toEqual([0, 0, 0, 0, 0, 0, 0, 0]);
  for (let count = 0; count < 5; count += 1) smallStream.give();
  push(1);
  smallStream.give();
  expect(results.map(({ mediaTime }) => mediaTime)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  expect(makers(results).slice(8)).toEqual([1, 1, 1, 1]);
  expect(new Set(results.map(({ width, height }) => `${width}x${height}`))).toEqual(new Set(['64x64']));
  stream.setRung(0);
  await turns(3);
  push(1);
  mainStream.give();
  expect(makers(results).at(-1)).toBe(0);
  expect(mainStream.rungs.at(-1)).toBe(0);
  expect(errors).toEqual([]);
});

it('is a plain resize when the small model cannot be loaded, and says so once', async () => {
  const { stream, mainStream, results, errors, push } = await bench(async () => {
    throw new AppError('model.invalid', 'onnxruntime is not here');
  });
  stream.setRung(2);
  push(1);
  await turns(4);
  // The engine's picture has come out, and the next one does not go in.
  expect(push(1)).toEqual(['accepted']);
  expect([results.length, mainStream.inside.length]).toEqual([2, 0]);
  stream.setRung(0);
  await turns(2);
  stream.setRung(2);
  await turns(4);
  expect(errors.map(({ scope, message }) => `${scope} ${message}`)).toEqual([
    'frame The small model cannot take over, a plain resize does: onnxruntime is not here',
  ]);
});

it('falls back to a plain resize when the small model dies', async () => {
  const { small, stream, mainStream, results, errors, push } = await bench();
  stream.setRung(2);
  await turns(4);
  const [smallStream] = small.streams as [FakeStream];
  push(1);
  smallStream.inside.length = 0;
  smallStream.listener.onError(new AppError('model.run', 'the thread died', { scope: 'stream' }));
  await turns(3);
  push(1);
  expect(makers(results)).toEqual([0]);
  expect(mainStream.inside).toEqual([]);
  expect(errors.map(({ scope }) => scope)).toEqual(['frame']);
});

it('steps down to the plain resize while pictures wait, each of them once', async () => {
  const { stream, results, errors, push } = await bench();
  push(4);
  stream.setRung(3);
  push(3);
  await turns(3);
  expect(results.map(({ mediaTime }) => mediaTime)).toEqual([1, 2, 3, 4, 5, 6, 7]);
  expect(errors).toEqual([]);
});

it('passes over a side that is not usable, from the next picture on', async () => {
  const upscalers = [0, 1].map((name) => new FakeUpscaler(['x'], 1, name));
  const lost = new Set<number>();
  const results: Picture[] = [];
  const format = { sourceWidth: 16, sourceHeight: 16 };
  const stream = await RungSwitch.open({
    sides: upscalers.map((upscaler, index) => ({
      name: `side ${index}`,
      rungs: 1,
      usable: () => !lost.has(index),
      open: (listener) => upscaler.openStream(format, listener),
    })),
    size: { outputWidth: 64, outputHeight: 64 },
    waitingFrames: 2,
    listener: { onPicture: (picture) => results.push(picture), onError: (error) => expect(error).toBeUndefined() },
    onClose: () => undefined,
  });
  stream.push(makePicture(16, 16, 1));
  upscalers[0]?.streams[0]?.give();
  lost.add(0);
  // Opening the next side takes a turn; then the side that cannot work gets nothing more.
  stream.setRung(0);
  await turns(2);
  stream.push(makePicture(16, 16, 2));
  upscalers[1]?.streams[0]?.give();
  expect(makers(results)).toEqual([0, 1]);
  expect(upscalers[0]?.streams[0]?.inside).toEqual([]);
  await stream.close();
});

it('ends with a side that is essential', async () => {
  const errors: AppError[] = [];
  const main = new FakeUpscaler(['x'], 1, 0);
  const stream = await RungSwitch.open({
    sides: [
      {
        name: 'main',
        rungs: 1,
        essential: true,
        open: (own) => main.openStream({ sourceWidth: 16, sourceHeight: 16 }, own),
      },
    ],
    waitingFrames: 1,
    listener: { onPicture: () => undefined, onError: (error) => errors.push(error) },
    onClose: () => undefined,
  });
  main.streams[0]?.listener.onError(new AppError('model.run', 'the thread died', { scope: 'stream' }));
  expect(errors.map(({ scope, message }) => `${scope} ${message}`)).toEqual(['stream the thread died']);
  await stream.close();
});

it('flushes whichever side has pictures, and closes both', async () => {
  const { small, main, upscaler, stream, results, push } = await bench();
  push(3);
  await stream.flush();
  stream.setRung(2);
  await turns(5);
  push(1);
  await stream.flush();
  expect(makers(results)).toEqual([0, 0, 0, 1]);
  await upscaler.close();
  await upscaler.close();
  expect([main.closed, small.closed, small.streams[0]?.closed, main.streams[0]?.closed]).toEqual([1, 1, true, true]);
  expect(stream.push(makePicture(16, 16, 99))).toBe('closed');
});
