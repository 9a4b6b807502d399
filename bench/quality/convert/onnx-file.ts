/** Builds small float ONNX files (opset 17): enough for the public super-resolution models the benchmark compares with. */
import { MessageWriter } from './protobuf.ts';

export type Attribute = number | number[] | string;

const FLOAT = 1;
const INT64 = 7;

/** A finished file, and how many weights are in it. */
export interface Converted {
  file: Uint8Array;
  parameters: number;
}

export class OnnxGraph {
  readonly #graph = new MessageWriter();
  #count = 0;
  #parameters = 0;

  /** A float constant; returns its name. */
  constant(shape: number[], values: Float32Array): string {
    const size = shape.reduce((a, b) => a * b, 1);
    if (size !== values.length)
      throw new Error(`constant of shape [${shape.join()}] needs ${size} values, got ${values.length}`);
    return this.#tensor(shape, FLOAT, new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  }

  integers(values: number[]): string {
    return this.#tensor([values.length], INT64, new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer));
  }

  #tensor(shape: number[], type: number, raw: Uint8Array): string {
    const name = `constant_${this.#count++}`;
    const tensor = new MessageWriter();
    for (const size of shape) tensor.integer(1, size);
    this.#graph.message(5, tensor.integer(2, type).text(8, name).bytes(9, raw));
    return name;
  }

  /** Adds one operator; returns its output's name. An empty input name leaves that optional input out. */
  node(
    kind: string,
    inputs: string[],
    attributes: Record<string, Attribute> = {},
    output = `value_${this.#count++}`,
  ): string {
    const node = new MessageWriter();
    for (const input of inputs) node.text(1, input);
    node.text(2, output).text(3, output).text(4, kind);
    for (const [name, value] of Object.entries(attributes)) {
      const attribute = new MessageWriter().text(1, name);
      if (typeof value === 'number') attribute.integer(3, value).integer(20, 2);
      else if (typeof value === 'string') attribute.text(4, value).integer(20, 3);
      else {
        for (const item of value) attribute.integer(8, item);
        attribute.integer(20, 7);
      }
      node.message(5, attribute);
    }
    this.#graph.message(1, node);
    return output;
  }

  /** Same-size convolution, stride 1. weights: (outputs, inputs, k, k). */
  convolution(input: string, shape: number[], weights: Float32Array, bias?: Float32Array): string {
    const [outputs = 0, , kernel = 0] = shape;
    this.#parameters += weights.length + (bias?.length ?? 0);
    const inputs = [input, this.constant(shape, weights)];
    if (bias) inputs.push(this.constant([outputs], bias));
    const pad = (kernel - 1) / 2;
    return this.node('Conv', inputs, { kernel_shape: [kernel, kernel], pads: [pad, pad, pad, pad] });
  }

  prelu(input: string, slopes: Float32Array): string {
    this.#parameters += slopes.length;
    return this.node('PRelu', [input, this.constant([slopes.length, 1, 1], slopes)]);
  }

  nearest(input: string, scale: number): string {
    const scales = this.constant([4], Float32Array.of(1, 1, scale, scale));
    return this.node('Resize', [input, '', scales], {
      mode: 'nearest',
      coordinate_transformation_mode: 'asymmetric',
      nearest_mode: 'floor',
    });
  }

  /** Input `input` and output `output`, both (1, channels, free, free). */
  finish(last: string, channels: number): Converted {
    this.node('Identity', [last], {}, 'output');
    const value = (name: string, height: string, width: string): MessageWriter => {
      const shape = new MessageWriter();
      shape.message(1, new MessageWriter().integer(1, 1)).message(1, new MessageWriter().integer(1, channels));
      shape.message(1, new MessageWriter().text(2, height)).message(1, new MessageWriter().text(2, width));
      const tensor = new MessageWriter().integer(1, FLOAT).message(2, shape);
      return new MessageWriter().text(1, name).message(2, new MessageWriter().message(1, tensor));
    };
    this.#graph
      .text(2, 'converted')
      .message(11, value('input', 'h', 'w'))
      .message(12, value('output', 'H', 'W'));
    const opset = new MessageWriter().text(1, '').integer(2, 17);
    const file = new MessageWriter()
      .integer(1, 8)
      .text(2, 'bench/quality')
      .message(7, this.#graph)
      .message(8, opset)
      .finish();
    return { file, parameters: this.#parameters };
  }
}

/** (height, width, inputs, outputs), as TensorFlow stores it -> (outputs, inputs, height, width). */
export function toOihw(weights: Float32Array, [h = 0, w = 0, i = 0, o = 0]: number[]): Float32Array {
  const out = new Float32Array(weights.length);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++)
      for (let a = 0; a < i; a++)
        for (let b = 0; b < o; b++) out[((b * i + a) * h + y) * w + x] = weights[((y * w + x) * i + a) * o + b] ?? NaN;
  return out;
}
