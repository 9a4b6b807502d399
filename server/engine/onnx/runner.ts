import { InferenceSession, Tensor } from 'onnxruntime-node';
import { AppError } from '../../errors.ts';
import type { OnnxModel } from '../spec.ts';
import { invalidModel, readGraph, type GraphInfo, type ModelGraph, type TensorInfo } from './graph.ts';

/** Sides of the probe picture: small, even, and a multiple of what common models ask for. */
const PROBE_SIDE = 64;

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
    let session: InferenceSession;
    try {
      session = await InferenceSession.create(model.file, {
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        executionMode: 'sequential',
        logSeverityLevel: 4,
        // Threads that spin between two frames would take the cores from decoders and encoders.
        extra: { session: { intra_op: { allow_spinning: '0' } } },
      });
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
   * One frame. @param input RGB planes, `3 * height * width` values in the model's range
   * @param output `3 * height * width * scale^2` values, filled here
   * @param state the stream's; replaced by the new one in place
   * @throws AppError model.run
   */
  async run(
    input: Float32Array,
    output: Float32Array,
    width: number,
    height: number,
    state: StreamState,
  ): Promise<void> {
    const { frame, upscaled, states } = this.#graph;
    const feeds: Record<string, Tensor> = { [frame.name]: new Tensor('float32', input, [1, 3, height, width]) };
    const result = new Tensor('float32', output, [1, 3, height * this.scale, width * this.scale]);
    const fetches: Record<string, Tensor | null> = { [upscaled.name]: result };
    states.forEach(({ input: { name }, output: stateOutput }, index) => {
      const tensor = state[index];
      if (tensor !== undefined) feeds[name] = tensor;
      fetches[stateOutput] = null;
    });
    try {
      const results = await this.#session.run(feeds, fetches);
      states.forEach(({ output: stateOutput }, index) => {
        const tensor = results[stateOutput];
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

function graphInfo(session: InferenceSession): GraphInfo {
  const convert = (metadata: InferenceSession.ValueMetadata): TensorInfo =>
    metadata.isTensor
      ? { name: metadata.name, type: metadata.type, shape: metadata.shape }
      : { name: metadata.name, type: 'sequence', shape: [] };
  return { inputs: session.inputMetadata.map(convert), outputs: session.outputMetadata.map(convert) };
}

function newState(graph: ModelGraph, width: number, height: number): StreamState {
  return graph.states.map(
    ({ channels }) => new Tensor('float32', new Float32Array(channels * height * width), [1, channels, height, width]),
  );
}

/** Runs grey once: the only honest way to know the scale, and that every node is supported. */
async function probe(model: OnnxModel, session: InferenceSession, graph: ModelGraph, info: GraphInfo): Promise<number> {
  const width = graph.fixedWidth ?? PROBE_SIDE;
  const height = graph.fixedHeight ?? PROBE_SIDE;
  const [black, white] = model.valueRange;
  const grey = new Float32Array(3 * height * width).fill((black + white) / 2);
  const feeds: Record<string, Tensor> = { [graph.frame.name]: new Tensor('float32', grey, [1, 3, height, width]) };
  const state = newState(graph, width, height);
  graph.states.forEach(({ input }, index) => {
    const tensor = state[index];
    if (tensor !== undefined) feeds[input.name] = tensor;
  });
  let results: InferenceSession.OnnxValueMapType;
  try {
    results = await session.run(feeds);
  } catch (cause) {
    throw invalidModel(model, `it fails on a ${width}x${height} picture (${String(cause)}).`, info, cause);
  }
  const dims = results[graph.upscaled.name]?.dims ?? [];
  const [batch, channels, outputHeight = 0, outputWidth = 0] = dims;
  const scale = outputWidth / width;
  const fits = batch === 1 && channels === 3 && dims.length === 4 && outputHeight / height === scale;
  if (!fits || !Number.isInteger(scale) || scale < 1 || scale > 8) {
    throw invalidModel(
      model,
      `a ${width}x${height} picture gave [${dims.join(', ')}], which is no whole multiple.`,
      info,
    );
  }
  if (model.scale !== undefined && model.scale !== scale) {
    throw invalidModel(model, `its manifest says scale ${model.scale}, but it made ${scale} times as much.`, info);
  }
  graph.states.forEach(({ input, output, channels: depth }) => {
    const stateDims = results[output]?.dims ?? [];
    if (stateDims.join() !== [1, depth, height, width].join()) {
      throw invalidModel(
        model,
        `its state ${output} has [${stateDims.join(', ')}] where ${input.name} takes [1, ${depth}, ${height}, ${width}].`,
        info,
      );
    }
  });
  return scale;
}
