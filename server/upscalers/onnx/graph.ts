import { AppError } from '../../errors.ts';
import type { OnnxLayout, OnnxModel, RecurrentState } from '../spec.ts';

/** One input or output as onnxruntime describes it: numbers are fixed sizes, names are free ones. */
export interface TensorInfo {
  readonly name: string;
  /** `float32`, `uint8`, ...; `sequence` for what is no tensor. */
  readonly type: string;
  readonly shape: readonly (number | string)[];
}

export interface GraphInfo {
  readonly inputs: readonly TensorInfo[];
  readonly outputs: readonly TensorInfo[];
}

export type StateType = 'float32' | 'float16' | 'uint8';

export interface StatePair {
  readonly input: string;
  readonly output: string;
  readonly type: StateType;
  readonly channels: number;
  /** Height and width are the frame's divided by this, rounded up. */
  readonly divisor: number;
}

/** The parts of a graph this server feeds and reads. */
export interface ModelGraph {
  readonly layout: OnnxLayout;
  /** Names of the picture's tensors: `rgb` one, `yuv420p` luma and chroma. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  /** `yuv420p` only: results are int32, four samples in each, the first in the lowest byte, rows filled up to a multiple of four. */
  readonly packed: boolean;
  readonly states: readonly StatePair[];
  /** Set when the file fixes the frame's size. */
  readonly fixedWidth: number | undefined;
  readonly fixedHeight: number | undefined;
}

const EXPECTED =
  'either one float32 input of shape [1, 3, height, width] (RGB) and one such output a whole number of times as large, ' +
  'or uint8 luma [1, 1, height, width] and chroma [1, 2, height / 2, width / 2] in and out (out also as int32, four samples in each); ' +
  'and for recurrent models pairs of state tensors [1, channels, height, width] named X and X_out';

const describe = ({ name, type, shape }: TensorInfo): string => `${name}: ${type} [${shape.join(', ')}]`;

/** What is wrong, what was expected, what the file has. */
export function invalidModel(model: OnnxModel, problem: string, graph?: GraphInfo, cause?: unknown): AppError {
  const found =
    graph === undefined
      ? ''
      : ` Found inputs (${graph.inputs.map(describe).join('; ')}) and outputs (${graph.outputs.map(describe).join('; ')}).`;
  return new AppError('model.invalid', `${model.file} cannot be used: ${problem} Expected ${EXPECTED}.${found}`, {
    context: { file: model.file, inputs: graph?.inputs.map(describe), outputs: graph?.outputs.map(describe) },
    ...(cause === undefined ? {} : { cause }),
  });
}

/** Finds frame, result and states. @throws AppError model.invalid */
export function readGraph(model: OnnxModel, graph: GraphInfo): ModelGraph {
  const pairs = model.recurrentState ?? guessPairs(graph);
  const stateNames = new Set(pairs.flatMap(({ input, output }) => [input, output]));
  const inputs = graph.inputs.filter((input) => !stateNames.has(input.name));
  const outputs = graph.outputs.filter((output) => !stateNames.has(output.name));
  const planar = isPlane(inputs, 1) !== undefined && isPlane(inputs, 2) !== undefined;
  const layout = model.layout ?? (planar ? 'yuv420p' : 'rgb');
  const picture = layout === 'rgb' ? readRgb(model, graph, inputs, outputs) : readPlanes(model, graph, inputs, outputs);
  const [, , height, width] = picture.frame.shape;
  return {
    layout,
    inputs: picture.inputs,
    outputs: picture.outputs,
    packed: picture.packed,
    states: pairs.map((pair) => readState(model, graph, pair, picture.frame, layout)),
    fixedWidth: typeof width === 'number' ? width : undefined,
    fixedHeight: typeof height === 'number' ? height : undefined,
  };
}

interface PictureTensors {
  /** The input whose height and width are the frame's. */
  readonly frame: TensorInfo;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly packed: boolean;
}

function readRgb(
  model: OnnxModel,
  graph: GraphInfo,
  inputs: readonly TensorInfo[],
  outputs: readonly TensorInfo[],
): PictureTensors {
  const [frame] = inputs;
  if (frame === undefined || inputs.length > 1) {
    throw invalidModel(model, `it has ${inputs.length} inputs that are no recurrent state.`, graph);
  }
  if (!fits(frame, 'float32', 3)) throw invalidModel(model, `its input ${frame.name} is no RGB picture.`, graph);
  // Auxiliary outputs (features, intermediate scales) are common; the first with three channels is the picture.
  const upscaled = outputs.find((output) => fits(output, 'float32', 3));
  if (upscaled === undefined) throw invalidModel(model, 'none of its outputs is an RGB picture.', graph);
  return { frame, inputs: [frame.name], outputs: [upscaled.name], packed: false };
}

function readPlanes(
  model: OnnxModel,
  graph: GraphInfo,
  inputs: readonly TensorInfo[],
  outputs: readonly TensorInfo[],
): PictureTensors {
  const [luma, chroma] = [isPlane(inputs, 1), isPlane(inputs, 2)];
  const packed = isPlane(outputs, 1) === undefined;
  const type = packed ? 'int32' : 'uint8';
  const [upscaledLuma, upscaledChroma] = [isPlane(outputs, 1, type), isPlane(outputs, 2, type)];
  if (luma === undefined || chroma === undefined || inputs.length > 2) {
    throw invalidModel(model, 'its inputs are not one luma and one chroma picture.', graph);
  }
  if (upscaledLuma === undefined || upscaledChroma === undefined) {
    throw invalidModel(model, 'its outputs are not a luma and a chroma picture.', graph);
  }
  if ((model.sizeMultiple ?? 1) !== 1) throw invalidModel(model, 'sizeMultiple is for RGB models only.', graph);
  const [inputNames, outputNames] = [
    [luma.name, chroma.name],
    [upscaledLuma.name, upscaledChroma.name],
  ];
  return { frame: luma, inputs: inputNames, outputs: outputNames, packed };
}

function isPlane(tensors: readonly TensorInfo[], channels: number, type = 'uint8'): TensorInfo | undefined {
  // The channels must be said: a free dimension could be either plane.
  return tensors.find((tensor) => fits(tensor, type, channels) && tensor.shape[1] === channels);
}

/** Four dimensions, batch 1 and so many channels, where the file says anything about them at all. */
function fits({ type, shape }: TensorInfo, wantedType: string, channels: number): boolean {
  const [batch, depth] = shape;
  const batchFits = typeof batch === 'string' || batch === 1;
  return type === wantedType && shape.length === 4 && batchFits && (typeof depth === 'string' || depth === channels);
}

function readState(
  model: OnnxModel,
  graph: GraphInfo,
  { input, output, divisor }: RecurrentState,
  frame: TensorInfo,
  layout: OnnxLayout,
): StatePair {
  const tensor = graph.inputs.find((candidate) => candidate.name === input);
  if (tensor === undefined) throw invalidModel(model, `its recurrent state ${input} is no input.`, graph);
  if (!graph.outputs.some((candidate) => candidate.name === output)) {
    throw invalidModel(model, `its recurrent state ${output} is no output.`, graph);
  }
  const { type, shape } = tensor;
  const channels = shape[1];
  if (
    (type !== 'float32' && type !== 'float16' && type !== 'uint8') ||
    shape.length !== 4 ||
    typeof channels !== 'number'
  ) {
    throw invalidModel(
      model,
      `its recurrent state ${input} is no float32, float16 or uint8 tensor of a fixed depth.`,
      graph,
    );
  }
  return { input, output, type, channels, divisor: divisor ?? guessDivisor(shape, frame.shape, layout) };
}

/** Dimensions of the same name have the same size; two fixed sizes say it outright. */
function guessDivisor(state: TensorInfo['shape'], frame: TensorInfo['shape'], layout: OnnxLayout): number {
  const [stateHeight, frameHeight] = [state[2], frame[2]];
  if (typeof stateHeight === 'number' && typeof frameHeight === 'number') return Math.round(frameHeight / stateHeight);
  if (stateHeight === frameHeight) return 1;
  return layout === 'yuv420p' ? 2 : 1;
}

function guessPairs(graph: GraphInfo): RecurrentState[] {
  const outputs = new Set(graph.outputs.map((output) => output.name));
  return graph.inputs.flatMap(({ name }) => {
    const output = [`${name}_out`, name.replace(/^state_in_/, 'state_out_')].find(
      (candidate) => candidate !== name && outputs.has(candidate),
    );
    return output === undefined ? [] : [{ input: name, output }];
  });
}
