import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { InferenceSession, Tensor } from 'onnxruntime-node';
import { AppError } from '../../errors.ts';
import type { OnnxLayout, OnnxModel } from '../spec.ts';
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

/** Recurrent tensors of one stream, in the order of the graph's state pairs. */
export type StreamState = Tensor[];

/**
 * One model file in one thread. onnxruntime-node's `run` is synchronous behind its promise (it computes in a setImmediate),
 * so this lives in a thread of its own (thread.ts).
 */
export class OnnxRunner {
  readonly model: OnnxModel;
  readonly scale: number;
  readonly #session: InferenceSession;
  readonly #graph: ModelGraph;

  private constructor(model: OnnxModel, session: InferenceSession, graph: ModelGraph, scale: number) {
    this.model = model;
    this.#session = session;
    this.#graph = graph;
    this.scale = scale;
  }

  /** Loads, checks the graph and runs it once on a small picture. @throws AppError model.invalid */
  static async load(model: OnnxModel, threads: number): Promise<OnnxRunner> {
    await verifyFile(model);
    let session: InferenceSession;
    try {
      session = await InferenceSession.create(model.file, sessionOptions(threads));
    } catch (cause) {
      throw invalidModel(model, `onnxruntime cannot load it (${(cause as Error).message.trim()}).`, undefined, cause);
    }
    try {
      const info = graphInfo(session);
      const graph = readGraph(model, info);
      const scale = await probe(model, session, graph, info);
      return new OnnxRunner(model, session, graph, scale);
    } catch (error) {
      await session.release();
      throw error;
    }
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

  /**
   * One frame. @param input the picture in the model's layout and value range
   * @param output samples of a picture `scale` times as large, filled here
   * @param state the stream's; replaced by the new one in place
   * @throws AppError model.run
   */
  async run(input: Samples, output: Samples, width: number, height: number, state: StreamState): Promise<void> {
    const { layout, states } = this.#graph;
    const feeds = pictureTensors(layout, this.#graph.inputs, input, width, height);
    // Given tensors are filled in place: the result lies in `output` without a copy.
    const fetches: Record<string, Tensor | null> = pictureTensors(
      layout,
      this.#graph.outputs,
      output,
      width * this.scale,
      height * this.scale,
    );
    states.forEach((pair, index) => {
      const tensor = state[index];
      if (tensor !== undefined) feeds[pair.input] = tensor;
      fetches[pair.output] = null;
    });
    try {
      const results = await this.#session.run(feeds, fetches);
      states.forEach((pair, index) => {
        const tensor = results[pair.output];
        if (tensor !== undefined) state[index] = tensor;
      });
    } catch (cause) {
      throw new AppError('model.run', `${this.model.label} failed on a ${width}x${height} frame: ${String(cause)}`, {
        cause,
        scope: 'frame',
      });
    }
  }

  async close(): Promise<void> {
    await this.#session.release();
  }
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

function newState(graph: ModelGraph, width: number, height: number): StreamState {
  return graph.states.map(({ type, channels, divisor }) => {
    const dims = stateDims(channels, divisor, width, height);
    const values = dims.reduce((product, dim) => product * dim, 1);
    return type === 'float32'
      ? new Tensor('float32', new Float32Array(values), dims)
      : new Tensor('uint8', new Uint8Array(values), dims);
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
  const scale = (dimsOf(first)[3] ?? 0) / width;
  const expected = tensorPlaces(graph.layout, width * scale, height * scale).map((place) => place.dims.join());
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
  return scale;
}
