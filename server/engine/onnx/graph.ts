import { AppError } from '../../errors.ts';
import type { OnnxModel } from '../spec.ts';

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

export interface StatePair {
  readonly input: TensorInfo;
  readonly output: string;
  readonly channels: number;
}

/** The parts of a graph this server feeds and reads. */
export interface ModelGraph {
  readonly frame: TensorInfo;
  readonly upscaled: TensorInfo;
  readonly states: readonly StatePair[];
  /** Set when the file fixes the frame's size. */
  readonly fixedWidth: number | undefined;
  readonly fixedHeight: number | undefined;
}

const EXPECTED =
  'one float32 input of shape [1, 3, height, width] (RGB), one such output a whole number of times as large, ' +
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
  const states = statePairs(model, graph);
  const stateInputs = new Set(states.map((state) => state.input.name));
  const stateOutputs = new Set(states.map((state) => state.output));
  const inputs = graph.inputs.filter((input) => !stateInputs.has(input.name));
  const outputs = graph.outputs.filter((output) => !stateOutputs.has(output.name));
  const frame = inputs[0];
  if (frame === undefined || inputs.length > 1) {
    throw invalidModel(model, `it has ${inputs.length} inputs that are no recurrent state.`, graph);
  }
  // Auxiliary outputs (features, intermediate scales) are common; the first with three channels is the picture.
  const upscaled = outputs.find((output) => output.type === 'float32' && mayBe(output.shape, 3));
  if (!isImage(frame)) throw invalidModel(model, `its input ${frame.name} is no RGB picture.`, graph);
  if (upscaled === undefined) throw invalidModel(model, 'none of its outputs is an RGB picture.', graph);
  const [, , height, width] = frame.shape;
  return {
    frame,
    upscaled,
    states,
    fixedWidth: typeof width === 'number' ? width : undefined,
    fixedHeight: typeof height === 'number' ? height : undefined,
  };
}

function isImage(tensor: TensorInfo): boolean {
  return tensor.type === 'float32' && mayBe(tensor.shape, 3);
}

/** Four dimensions, batch 1 and so many channels, where the file says anything about them at all. */
function mayBe(shape: readonly (number | string)[], channels: number): boolean {
  const [batch, depth] = shape;
  return (
    shape.length === 4 &&
    (typeof batch === 'string' || batch === 1) &&
    (typeof depth === 'string' || depth === channels)
  );
}

function statePairs(model: OnnxModel, graph: GraphInfo): StatePair[] {
  const names = model.recurrentState ?? guessPairs(graph);
  return names.map(({ input, output }) => {
    const tensor = graph.inputs.find((candidate) => candidate.name === input);
    if (tensor === undefined) throw invalidModel(model, `its recurrent state ${input} is no input.`, graph);
    if (!graph.outputs.some((candidate) => candidate.name === output)) {
      throw invalidModel(model, `its recurrent state ${output} is no output.`, graph);
    }
    const channels = tensor.shape[1];
    if (tensor.type !== 'float32' || tensor.shape.length !== 4 || typeof channels !== 'number') {
      throw invalidModel(
        model,
        `its recurrent state ${input} is no float32 tensor with a fixed number of channels.`,
        graph,
      );
    }
    return { input: tensor, output, channels };
  });
}

function guessPairs(graph: GraphInfo): { input: string; output: string }[] {
  const outputs = new Set(graph.outputs.map((output) => output.name));
  return graph.inputs.flatMap(({ name }) => {
    const output = [`${name}_out`, name.replace(/^state_in_/, 'state_out_')].find(
      (candidate) => candidate !== name && outputs.has(candidate),
    );
    return output === undefined ? [] : [{ input: name, output }];
  });
}
