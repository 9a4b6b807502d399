import './quiet-runtime.ts';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { AppError } from '../../errors.ts';
import type { OnnxLayout, OnnxModel } from '../spec.ts';
import { GpuTurns } from './gpu-turns.ts';
import { invalidModel, readGraph, type GraphInfo, type ModelGraph, type TensorInfo } from './graph.ts';
import { newSamples, tensorPlaces, type Samples } from './samples.ts';

/** Sides of the probe picture: small, even, and a multiple of what common models ask for. */
const PROBE_SIDE = 64;

/** How every session is made; benchmarks that compare with other models use it too. */
export function sessionOptions(threads: number): InferenceSession.SessionOptions {
  return {
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    executionMode: 'sequential',
    logSeverityLevel: 4,
    // Threads that spin between two frames would take the cores from decoders and encoders.
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  };
}

/** The same by WebGPU; what it has no kernel for (arithmetic on shapes) runs on the CPU. @param states outputs that stay on the device */
function gpuSessionOptions(states: readonly string[]): InferenceSession.SessionOptions {
  return {
    ...sessionOptions(1),
    executionProviders: [{ name: 'webgpu' }],
    preferredOutputLocation: Object.fromEntries(states.map((name) => [name, 'gpu-buffer'])),
  };
}

/** Recurrent tensors of one stream, in the order of the graph's state pairs. On a GPU they stay there. */
export type StreamState = Tensor[];

/** Where a session runs: `turns` only on the GPU, which all threads of the process share. */
interface Placed {
  readonly session: InferenceSession;
  readonly turns?: GpuTurns;
}

/**
 * One model file in one thread. onnxruntime-node's `run` is synchronous behind its promise (it computes in a setImmediate),
 * so this lives in a separate thread (thread.ts).
 */
export class OnnxRunner {
  readonly model: OnnxModel;
  readonly scale: number;
  readonly #placed: Placed;
  readonly #graph: ModelGraph;

  private constructor(model: OnnxModel, placed: Placed, graph: ModelGraph, scale: number) {
    this.model = model;
    this.#placed = placed;
    this.#graph = graph;
    this.scale = scale;
  }

  /**
   * Loads, checks the graph and runs it once on a small picture.
   *
   * @throws AppError model.invalid | model.device when it should run on the GPU and cannot
   */
  static async load(model: OnnxModel, threads: number): Promise<OnnxRunner> {
    await verifyFile(model);
    const session = await createSession(model, sessionOptions(threads));
    if (model.gpu === undefined) return OnnxRunner.#checked(model, { session });
    // The names of the states are known from the graph only, and a session's outputs are placed when it is made.
    let graph: ModelGraph;
    try {
      graph = readGraph(model, graphInfo(session));
    } finally {
      await session.release();
    }
    if (graph.states.some(({ type }) => type === 'uint8')) {
      throw new AppError('model.device', `${model.label} works in 8 bits, which WebGPU has no kernels for.`, {
        context: { file: model.file },
        remedy: 'Run it with --model.device cpu, or choose a model made for GPUs (midi).',
      });
    }
    const turns = new GpuTurns();
    try {
      return await turns.run(async () => {
        const options = gpuSessionOptions(graph.states.map(({ output }) => output));
        return OnnxRunner.#checked(model, { session: await createSession(model, options), turns });
      });
    } catch (cause) {
      throw new AppError('model.device', `${model.label} cannot run on a GPU here: ${(cause as Error).message}`, {
        cause,
        context: { file: model.file },
        remedy: 'Install the GPU driver and its Vulkan loader (Debian: libvulkan1), or use --model.device cpu.',
      });
    }
  }

  static async #checked(model: OnnxModel, placed: Placed): Promise<OnnxRunner> {
    const { session } = placed;
    try {
      const info = graphInfo(session);
      const graph = readGraph(model, info);
      return new OnnxRunner(model, placed, graph, await probe(model, session, graph, info));
    } catch (error) {
      await session.release();
      throw error;
    }
  }

  get onGpu(): boolean {
    return this.#placed.turns !== undefined;
  }

  get remembers(): boolean {
    return this.#graph.states.length > 0;
  }

  get layout(): OnnxLayout {
    return this.#graph.layout;
  }

  get fixedWidth(): number | undefined {
    return this.#graph.fixedWidth;
  }

  get fixedHeight(): number | undefined {
    return this.#graph.fixedHeight;
  }

  /** Zeros: what the models were trained to start from. */
  newState(width: number, height: number): StreamState {
    return newState(this.#graph, width, height);
  }

  /** @throws AppError model.run for bytes that are no state of this model and size */
  stateFrom(bytes: Uint8Array, width: number, height: number): StreamState {
    const state = this.newState(width, height);
    const places = state.map((tensor) => bytesOf(tensor.data));
    if (bytes.length !== places.reduce((sum, place) => sum + place.length, 0)) {
      throw new AppError('model.run', `${this.model.label} has another state than the one that was kept.`);
    }
    let start = 0;
    for (const place of places) {
      place.set(bytes.subarray(start, start + place.length));
      start += place.length;
    }
    return state;
  }

  /** For stateFrom(). On the CPU only: reading a tensor that lies on a GPU ends the process (seen with onnxruntime-node 1.30.0). */
  stateBytes(state: StreamState): Uint8Array {
    if (state.some(({ location }) => location !== 'cpu')) {
      throw new AppError('model.run', `The state of ${this.model.label} lies on a GPU and cannot be read.`);
    }
    return Buffer.concat(state.map(({ data }) => bytesOf(data)));
  }

  /**
   * One frame. @param input the picture in the model's layout and value range
   * @param output samples of a picture `scale` times as large, filled here
   * @param state the stream's; replaced by the new one in place
   * @throws AppError model.run
   */
  async run(input: Samples, output: Samples, width: number, height: number, state: StreamState): Promise<void> {
    const { layout, states } = this.#graph;
    const feeds = pictureTensors(layout, this.#graph.inputs, input, width, height);
    const [resultWidth, resultHeight] = [width * this.scale, height * this.scale];
    // Given tensors are filled in place: the result lies in `output` without a copy. Packed ones are unpacked into it.
    const fetches: Record<string, Tensor | null> = this.#graph.packed
      ? Object.fromEntries(this.#graph.outputs.map((name) => [name, null]))
      : pictureTensors(layout, this.#graph.outputs, output, resultWidth, resultHeight);
    states.forEach((pair, index) => {
      const tensor = state[index];
      if (tensor !== undefined) feeds[pair.input] = tensor;
      fetches[pair.output] = null;
    });
    try {
      const { session, turns } = this.#placed;
      const results = await (turns === undefined
        ? session.run(feeds, fetches)
        : turns.run(() => session.run(feeds, fetches)));
      states.forEach((pair, index) => {
        const tensor = results[pair.output];
        if (tensor === undefined) return;
        state[index]?.dispose();
        state[index] = tensor;
      });
      if (this.#graph.packed) unpack(this.#graph.outputs, results, output as Uint8Array, resultWidth, resultHeight);
    } catch (cause) {
      throw new AppError('model.run', `${this.model.label} failed on a ${width}x${height} frame: ${String(cause)}`, {
        cause,
        scope: 'frame',
      });
    }
  }

  async close(): Promise<void> {
    await this.#placed.session.release();
  }
}

async function createSession(model: OnnxModel, options: InferenceSession.SessionOptions): Promise<InferenceSession> {
  try {
    return await InferenceSession.create(model.file, options);
  } catch (cause) {
    throw invalidModel(model, `onnxruntime cannot load it (${(cause as Error).message.trim()}).`, undefined, cause);
  }
}

/** Rows of whole 32-bit words -> the tightly packed picture. */
function unpack(
  names: readonly string[],
  results: InferenceSession.OnnxValueMapType,
  output: Uint8Array,
  width: number,
  height: number,
): void {
  tensorPlaces('yuv420p', width, height).forEach(({ dims: [, planes, rows, columns], start, length }, index) => {
    const words = results[names[index] ?? '']?.data as Int32Array;
    const bytes = new Uint8Array(words.buffer, words.byteOffset, words.byteLength);
    if (columns % 4 === 0) {
      output.set(bytes.subarray(0, length), start);
      return;
    }
    const stride = Math.ceil(columns / 4) * 4;
    for (let row = 0; row < planes * rows; row += 1) {
      output.set(bytes.subarray(row * stride, row * stride + columns), start + row * columns);
    }
  });
}

/** A model whose manifest states its sha256 is that file or none. @throws AppError model.invalid */
async function verifyFile({ file, sha256 }: OnnxModel): Promise<void> {
  if (sha256 === undefined) return;
  const found = await readFile(file).then(
    (bytes) => createHash('sha256').update(bytes).digest('hex'),
    (cause: unknown) => {
      throw new AppError('model.invalid', `${file} cannot be read: ${(cause as Error).message}`, { cause });
    },
  );
  if (found === sha256) return;
  throw new AppError('model.invalid', `${file} has the sha256 ${found}, but its manifest says ${sha256}.`, {
    context: { file },
    remedy: 'The file is damaged or was replaced: restore it, or put the new sha256 into manifest.json.',
  });
}

function graphInfo(session: InferenceSession): GraphInfo {
  const convert = (metadata: InferenceSession.ValueMetadata): TensorInfo =>
    metadata.isTensor
      ? { name: metadata.name, type: metadata.type, shape: metadata.shape }
      : { name: metadata.name, type: 'sequence', shape: [] };
  return { inputs: session.inputMetadata.map(convert), outputs: session.outputMetadata.map(convert) };
}

/** Tensors that are views of a picture's samples. */
function pictureTensors(
  layout: OnnxLayout,
  names: readonly string[],
  samples: Samples,
  width: number,
  height: number,
): Record<string, Tensor> {
  const tensors: Record<string, Tensor> = {};
  tensorPlaces(layout, width, height).forEach(({ dims, start, length }, index) => {
    const values = samples.subarray(start, start + length);
    tensors[names[index] ?? ''] =
      values instanceof Float32Array ? new Tensor('float32', values, dims) : new Tensor('uint8', values, dims);
  });
  return tensors;
}

function stateDims(channels: number, divisor: number, width: number, height: number): [number, number, number, number] {
  return [1, channels, Math.ceil(height / divisor), Math.ceil(width / divisor)];
}

/** Of a state's types, none of which is made of strings. */
function bytesOf(data: Tensor['data']): Uint8Array {
  const { buffer, byteOffset, byteLength } = data as Uint8Array;
  return new Uint8Array(buffer, byteOffset, byteLength);
}

function newState(graph: ModelGraph, width: number, height: number): StreamState {
  return graph.states.map(({ type, channels, divisor }) => {
    const dims = stateDims(channels, divisor, width, height);
    const values = dims.reduce((product, dim) => product * dim, 1);
    switch (type) {
      case 'float32':
        return new Tensor('float32', new Float32Array(values), dims);
      case 'float16': // Zero has the same bits; Node 20 has no Float16Array.
        return new Tensor('float16', new Uint16Array(values), dims);
      case 'uint8':
        return new Tensor('uint8', new Uint8Array(values), dims);
    }
  });
}

/** Runs grey once: the only honest way to know the scale, and that every node is supported. */
async function probe(model: OnnxModel, session: InferenceSession, graph: ModelGraph, info: GraphInfo): Promise<number> {
  const width = graph.fixedWidth ?? PROBE_SIDE;
  const height = graph.fixedHeight ?? PROBE_SIDE;
  const grey = newSamples(graph.layout, width, height);
  const [black, white] = graph.layout === 'rgb' ? model.valueRange : [0, 255];
  grey.fill((black + white) / 2);
  const feeds = pictureTensors(graph.layout, graph.inputs, grey, width, height);
  const state = newState(graph, width, height);
  graph.states.forEach(({ input }, index) => {
    const tensor = state[index];
    if (tensor !== undefined) feeds[input] = tensor;
  });
  let results: InferenceSession.OnnxValueMapType;
  try {
    results = await session.run(feeds);
  } catch (cause) {
    throw invalidModel(model, `it fails on a ${width}x${height} picture (${String(cause)}).`, info, cause);
  }
  const dimsOf = (name: string | undefined): readonly number[] => results[name ?? '']?.dims ?? [];
  const [first] = graph.outputs;
  const scale = (dimsOf(first)[2] ?? 0) / height;
  const expected = tensorPlaces(graph.layout, width * scale, height * scale).map(
    ({ dims: [batch, planes, rows, columns] }) =>
      [batch, planes, rows, graph.packed ? Math.ceil(columns / 4) : columns].join(),
  );
  const found = graph.outputs.map((name) => dimsOf(name).join());
  if (!Number.isInteger(scale) || scale < 1 || scale > 8 || found.join(' ') !== expected.join(' ')) {
    const shapes = graph.outputs.map((name) => `[${dimsOf(name).join(', ')}]`).join(' and ');
    throw invalidModel(model, `a ${width}x${height} picture gave ${shapes}, which is no whole multiple.`, info);
  }
  if (model.scale !== undefined && model.scale !== scale) {
    throw invalidModel(model, `its manifest says scale ${model.scale}, but it made ${scale} times as much.`, info);
  }
  graph.states.forEach(({ input, output, channels, divisor }) => {
    const [given, taken] = [dimsOf(output).join(', '), stateDims(channels, divisor, width, height).join(', ')];
    if (given !== taken) {
      throw invalidModel(model, `its state ${output} has [${given}] where ${input} takes [${taken}].`, info);
    }
  });
  for (const tensor of Object.values(results)) tensor.dispose();
  return scale;
}
