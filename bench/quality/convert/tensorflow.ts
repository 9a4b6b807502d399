/**
 * TensorFlow frozen graphs (.pb) of FSRCNN and ESPCN -> ONNX.
 *
 * Covers what these graphs hold: Conv2D (NHWC, SAME, stride 1) with a bias Add, Relu, Tanh, DepthToSpace, BiasAdd, the final
 * Transpose, and PReLU spelled as relu(x) + alpha * (x - |x|) * 0.5, which becomes one PRelu so that its run time is not held
 * against the model. Everything else is refused by name.
 */
import { type Converted, OnnxGraph, toOihw } from './onnx-file.ts';
import { fieldBytes, fieldText, readFields } from './protobuf.ts';

interface GraphNode {
  name: string;
  op: string;
  inputs: string[];
  shape: number[];
  values: Float32Array;
  blockSize: number;
}

const DT_FLOAT = 1n;

function readTensor(bytes: Uint8Array): { shape: number[]; values: Float32Array } {
  const shape: number[] = [];
  const singles: number[] = [];
  let type = 0n;
  let content: Uint8Array = new Uint8Array(0);
  for (const field of readFields(bytes)) {
    if (field.number === 1 && typeof field.value === 'bigint') type = field.value;
    if (field.number === 2)
      for (const dim of readFields(fieldBytes(field)))
        if (dim.number === 2)
          for (const size of readFields(fieldBytes(dim))) if (size.number === 1) shape.push(Number(size.value));
    if (field.number === 4) content = fieldBytes(field);
    if (field.number === 5) {
      const packed = Uint8Array.from(fieldBytes(field)); // a copy: aligned, and of exactly this length
      singles.push(...new Float32Array(packed.buffer, 0, packed.length / 4));
    }
  }
  if (type !== DT_FLOAT) return { shape, values: new Float32Array(0) };
  const size = shape.reduce((a, b) => a * b, 1);
  const values = content.length ? new Float32Array(Uint8Array.from(content).buffer) : Float32Array.from(singles);
  // A constant whose values are all equal is stored once.
  return { shape, values: values.length === 1 && size > 1 ? new Float32Array(size).fill(values[0] ?? NaN) : values };
}

function readNode(bytes: Uint8Array): GraphNode {
  const node: GraphNode = { name: '', op: '', inputs: [], shape: [], values: new Float32Array(0), blockSize: 0 };
  for (const field of readFields(bytes)) {
    if (field.number === 1) node.name = fieldText(field);
    if (field.number === 2) node.op = fieldText(field);
    if (field.number === 3) node.inputs.push(fieldText(field));
    if (field.number !== 5) continue;
    let key = '';
    for (const entry of readFields(fieldBytes(field))) {
      if (entry.number === 1) key = fieldText(entry);
      if (entry.number !== 2) continue;
      for (const value of readFields(fieldBytes(entry))) {
        if (key === 'value' && value.number === 8) Object.assign(node, readTensor(fieldBytes(value)));
        if (key === 'block_size' && value.number === 3) node.blockSize = Number(value.value);
      }
    }
  }
  return node;
}

/** @throws when the graph holds an operator these models do not have */
export function convertTensorflow(file: Uint8Array): Converted {
  const nodes = new Map<string, GraphNode>();
  for (const field of readFields(file)) {
    if (field.number !== 1) continue;
    const node = readNode(fieldBytes(field));
    nodes.set(node.name, node);
  }
  const find = (name = ''): GraphNode => {
    const node = nodes.get(name);
    if (!node) throw new Error(`TensorFlow graph: node ${name} is missing`);
    return node;
  };
  const graph = new OnnxGraph();
  const done = new Map<string, string>();

  /** relu(x) + (alpha * (x - |x|)) * 0.5 */
  const asPrelu = (node: GraphNode): { x: string; slopes: Float32Array } | undefined => {
    const [relu, half] = node.inputs.map(find);
    if (relu?.op !== 'Relu' || half?.op !== 'Mul') return undefined;
    const [alpha] = find(half.inputs[0]).inputs.map(find);
    const [x] = relu.inputs;
    return alpha?.op === 'Const' && x ? { x, slopes: alpha.values } : undefined;
  };

  const convert = (name = ''): string => {
    const known = done.get(name);
    if (known) return known;
    const node = find(name);
    const build = (): string => {
      const [first, second] = node.inputs;
      switch (node.op) {
        case 'Placeholder':
          return 'input';
        case 'Conv2D': {
          const weights = find(second);
          const [h = 0, w = 0, i = 0, o = 0] = weights.shape;
          return graph.convolution(convert(first), [o, i, h, w], toOihw(weights.values, weights.shape));
        }
        case 'Add':
        case 'BiasAdd': {
          const prelu = asPrelu(node);
          if (prelu) return graph.prelu(convert(prelu.x), prelu.slopes);
          const bias = find(second);
          if (bias.op !== 'Const') throw new Error(`TensorFlow graph: ${name} adds two computed values`);
          const source = find(first);
          if (source.op === 'Conv2D') {
            const weights = find(source.inputs[1]);
            const [h = 0, w = 0, i = 0, o = 0] = weights.shape;
            return graph.convolution(
              convert(source.inputs[0]),
              [o, i, h, w],
              toOihw(weights.values, weights.shape),
              bias.values,
            );
          }
          return graph.node('Add', [convert(first), graph.constant([bias.values.length, 1, 1], bias.values)]);
        }
        case 'Relu':
        case 'Tanh':
          return graph.node(node.op, [convert(first)]);
        case 'DepthToSpace':
          return graph.node('DepthToSpace', [convert(first)], { blocksize: node.blockSize, mode: 'DCR' });
        case 'Transpose': // NHWC -> NCHW at the end; these graphs are NCHW throughout here
          return convert(first);
        default:
          throw new Error(`TensorFlow graph: operator ${node.op} (${name}) is not one of FSRCNN's or ESPCN's`);
      }
    };
    const output = build();
    done.set(name, output);
    return output;
  };
  return graph.finish(convert('NCHW_output'), 1);
}
