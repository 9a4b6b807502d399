/** Small networks in each public format, written here by hand; the converted file must compute what the plain layers do. */
import * as ort from 'onnxruntime-node';
import { describe, expect, it } from 'vitest';
import { convertNcnn } from '../convert/ncnn.ts';
import { MessageWriter } from '../convert/protobuf.ts';
import { convertTensorflow } from '../convert/tensorflow.ts';
import { convertTfjs } from '../convert/tfjs.ts';
import { convolve, maps, nearest, prelu, read, shuffle, type Maps } from './networks.ts';
import { random } from './planes.ts';

const numbers = (seed: number, count: number): Float32Array => {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => next() - 0.5);
};
const picture = (channels: number): Maps => {
  const next = random(77);
  return maps(channels, 6, 7, () => next());
};

async function run(file: Uint8Array, input: Maps): Promise<Maps> {
  const session = await ort.InferenceSession.create(file);
  const tensor = new ort.Tensor('float32', input.data, [1, input.channels, input.height, input.width]);
  const { output } = await session.run({ input: tensor });
  const [, channels = 0, height = 0, width = 0] = output?.dims ?? [];
  await session.release();
  return { channels, height, width, data: output?.data as Float32Array };
}

function expectSame(found: Maps, expected: Maps): void {
  expect([found.channels, found.height, found.width]).toEqual([expected.channels, expected.height, expected.width]);
  let largest = 0;
  expected.data.forEach((value, i) => (largest = Math.max(largest, Math.abs(value - (found.data[i] ?? NaN)))));
  expect(largest).toBeLessThan(1e-5);
  // Not all the same: an empty network would agree with an empty reference.
  expect(new Set(expected.data).size).toBeGreaterThan(20);
}

describe('ncnn', () => {
  const weights1 = numbers(1, 4 * 3 * 9).map(toHalf);
  const [bias1, slopes, weights2, bias2] = [numbers(2, 4), numbers(3, 4), numbers(4, 12 * 4 * 9), numbers(5, 12)];
  const floats = (values: Float32Array): Buffer => Buffer.from(new Uint8Array(values.buffer));
  const flag = (bits: number): Buffer => Buffer.from(Uint32Array.of(bits).buffer);
  const half = Buffer.from(Uint16Array.from(weights1, halfBits).buffer);
  const binary = Buffer.concat([
    flag(0x01306b47),
    half,
    floats(bias1),
    floats(slopes),
    flag(0),
    floats(weights2),
    floats(bias2),
  ]);
  const layers = [
    'Input data 0 1 data',
    'Split splitncnn_input0 1 2 data data0 data1',
    'Convolution Conv_0 1 1 data1 a 0=4 1=3 4=1 5=1 6=108',
    'PReLU PRelu_1 1 1 a b 0=4',
    'Convolution Conv_2 1 1 b c 0=12 1=3 4=1 5=1 6=432',
    'PixelShuffle DepthToSpace_3 1 1 c d 0=2',
    'Interp Resize_4 1 1 data0 e 0=1 1=2 2=2',
    'BinaryOp Add_5 2 1 d e output 0=0',
  ];
  const describeModel = (lines: string[]): string => `7767517\n${lines.length} 9\n${lines.join('\n')}\n`;

  it('SRVGG with 16- and 32-bit weights', async () => {
    const { file, parameters } = convertNcnn(describeModel(layers), binary);
    expect(parameters).toBe(108 + 4 + 4 + 432 + 12);
    const input = picture(3);
    const features = prelu(convolve(input, 4, 3, weights1, bias1), slopes);
    const detail = shuffle(convolve(features, 12, 3, weights2, bias2), 2, 'CRD');
    const base = nearest(input, 2);
    expectSame(
      await run(file, input),
      maps(3, 12, 14, (c, y, x) => read(detail, c, y, x) + read(base, c, y, x)),
    );
  });

  it('refuses weights that do not fit and layers it does not know', () => {
    const longer = Buffer.concat([binary, Buffer.alloc(8)]);
    expect(() => convertNcnn(describeModel(layers), longer)).toThrow('8 bytes of weights were not used');
    expect(() => convertNcnn(describeModel(layers), binary.subarray(0, -4))).toThrow();
    expect(() =>
      convertNcnn(describeModel(['Input data 0 1 data', 'Softmax s 1 1 data out']), Buffer.alloc(0)),
    ).toThrow('layer Softmax is not part of SRVGGNetCompact');
  });
});

/** The nearest 16-bit float of a value below 1 in size, and its bits: 1 sign, 5 exponent, 10 mantissa. */
function halfBits(value: number): number {
  const exponent = Math.max(-14, Math.floor(Math.log2(Math.abs(value))));
  const mantissa = Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024);
  return (value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | mantissa;
}
function toHalf(value: number): number {
  const exponent = Math.max(-14, Math.floor(Math.log2(Math.abs(value))));
  return Math.sign(value) * (1 + Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024) / 1024) * 2 ** exponent;
}

describe('TensorFlow', () => {
  const FLOAT = 1;
  const node = (
    name: string,
    op: string,
    inputs: string[],
    attributes: [string, MessageWriter][] = [],
  ): MessageWriter => {
    const writer = new MessageWriter().text(1, name).text(2, op);
    for (const input of inputs) writer.text(3, input);
    for (const [key, value] of attributes) writer.message(5, new MessageWriter().text(1, key).message(2, value));
    return writer;
  };
  const constant = (name: string, shape: number[], values: Float32Array): MessageWriter => {
    const dims = new MessageWriter();
    for (const size of shape) dims.message(2, new MessageWriter().integer(1, size));
    const tensor = new MessageWriter().integer(1, FLOAT).message(2, dims);
    tensor.bytes(4, new Uint8Array(values.buffer));
    return node(name, 'Const', [], [['value', new MessageWriter().message(8, tensor)]]);
  };
  /** A constant whose values are all equal is stored once, in float_val. */
  const same = (name: string, value: number): MessageWriter => {
    const tensor = new MessageWriter().integer(1, FLOAT).message(2, new MessageWriter());
    tensor.bytes(5, new Uint8Array(Float32Array.of(value).buffer));
    return node(name, 'Const', [], [['value', new MessageWriter().message(8, tensor)]]);
  };
  const graph = (...nodes: MessageWriter[]): Uint8Array => {
    const writer = new MessageWriter();
    for (const one of nodes) writer.message(1, one);
    return writer.finish();
  };
  /** (outputs, inputs, k, k) -> (k, k, inputs, outputs) */
  const hwio = (weights: Float32Array, o: number, i: number, k: number): Float32Array =>
    Float32Array.from({ length: weights.length }, (_, at) => {
      const [b, a, u, v] = [at % o, Math.floor(at / o) % i, Math.floor(at / o / i) % k, Math.floor(at / o / i / k)];
      return weights[((b * i + a) * k + v) * k + u] as number;
    });

  const [weights1, bias1, slopes] = [numbers(11, 6 * 1 * 25), numbers(12, 6), numbers(13, 6)];
  const [weights2, bias2] = [numbers(14, 4 * 6 * 9), numbers(15, 4)];
  const nodes = [
    node('IteratorGetNext', 'Placeholder', []),
    constant('w1', [5, 5, 1, 6], hwio(weights1, 6, 1, 5)),
    node('conv1', 'Conv2D', ['IteratorGetNext', 'w1']),
    constant('b1', [6], bias1),
    node('add1', 'Add', ['conv1', 'b1']),
    // PReLU as Keras wrote it: relu(x) + alpha * (x - |x|) * 0.5
    node('relu', 'Relu', ['add1']),
    node('abs', 'Abs', ['add1']),
    node('sub', 'Sub', ['add1', 'abs']),
    constant('alpha', [6], slopes),
    node('mul', 'Mul', ['alpha', 'sub']),
    same('half', 0.5),
    node('mul_half', 'Mul', ['mul', 'half']),
    node('prelu', 'Add', ['relu', 'mul_half']),
    constant('w2', [3, 3, 6, 4], hwio(weights2, 4, 6, 3)),
    node('conv2', 'Conv2D', ['prelu', 'w2']),
    constant('b2', [4], bias2),
    node('add2', 'BiasAdd', ['conv2', 'b2']),
    node('tanh', 'Tanh', ['add2']),
    node('shuffle', 'DepthToSpace', ['tanh'], [['block_size', new MessageWriter().integer(3, 2)]]),
    node('NCHW_output', 'Transpose', ['shuffle', 'order']),
  ];

  it('convolution with bias, PReLU spelled out, tanh, depth to space', async () => {
    const { file, parameters } = convertTensorflow(graph(...nodes));
    expect(parameters).toBe(150 + 6 + 6 + 216 + 4);
    const input = picture(1);
    const features = prelu(convolve(input, 6, 5, weights1, bias1), slopes);
    const last = convolve(features, 4, 3, weights2, bias2);
    const squashed = maps(4, 6, 7, (c, y, x) => Math.tanh(read(last, c, y, x)));
    expectSame(await run(file, input), shuffle(squashed, 2, 'DCR'));
  });

  it('names the operator or node it cannot take', () => {
    const pool = nodes.map((one, i) => (i === 17 ? node('tanh', 'MaxPool', ['add2']) : one));
    expect(() => convertTensorflow(graph(...pool))).toThrow('operator MaxPool (tanh)');
    expect(() => convertTensorflow(graph(...nodes.slice(0, -1)))).toThrow('node NCHW_output is missing');
    expect(() => convertTensorflow(Buffer.from('this is no graph at all, but text'))).toThrow('protobuf');
  });
});

const LINEAR = { activation: 'linear', padding: 'same', strides: [1, 1] };

describe('TensorFlow.js', () => {
  const [kernel1, bias1, kernel2, bias2] = [numbers(21, 9 * 3 * 5), numbers(22, 5), numbers(23, 8 * 3), numbers(24, 3)];
  const layer = (kind: string, name: string, inputs: string[], config: object = {}): object => ({
    class_name: kind,
    config: { name, ...config },
    inbound_nodes: inputs.length ? [inputs.map((input) => [input, 0, 0, {}])] : [],
  });
  const model = (layers: object[]): string =>
    JSON.stringify({
      modelTopology: { model_config: { config: { layers, output_layers: [['sum', 0, 0]] } } },
      weightsManifest: [
        {
          weights: [
            { name: 'one/kernel', shape: [3, 3, 3, 5], dtype: 'float32' },
            { name: 'one/bias', shape: [5], dtype: 'float32' },
            { name: 'two/kernel', shape: [1, 1, 8, 3], dtype: 'float32' },
            { name: 'two/bias', shape: [3], dtype: 'float32' },
          ],
        },
      ],
    });
  const layers = [
    layer('InputLayer', 'input', []),
    layer('Conv2D', 'one', ['input'], LINEAR),
    layer('Activation', 'relu', ['one'], { activation: 'relu' }),
    layer('Concatenate', 'join', ['input', 'relu']),
    layer('Conv2D', 'two', ['join'], { ...LINEAR, padding: 'valid' }), // one pixel: nothing to pad
    layer('UpSampling2D', 'up', ['two'], { size: [2, 2], interpolation: 'nearest' }),
    layer('UpSampling2D', 'base', ['input'], { size: [2, 2], interpolation: 'nearest' }),
    layer('Add', 'sum', ['up', 'base']),
  ];
  const weights = Buffer.concat([kernel1, bias1, kernel2, bias2].map((values) => Buffer.from(values.buffer)));

  it('convolutions, concatenation, nearest enlargement and sum', async () => {
    const { file, parameters } = convertTfjs(model(layers), weights);
    expect(parameters).toBe(135 + 5 + 24 + 3);
    const input = picture(3);
    const oihw1 = Float32Array.from({ length: 135 }, (_, at) => {
      const [u, v, i, o] = [at % 3, Math.floor(at / 3) % 3, Math.floor(at / 9) % 3, Math.floor(at / 27)];
      return kernel1[((v * 3 + u) * 3 + i) * 5 + o] as number;
    });
    const features = convolve(input, 5, 3, oihw1, bias1);
    const joined = maps(8, 6, 7, (c, y, x) =>
      c < 3 ? read(input, c, y, x) : Math.max(0, read(features, c - 3, y, x)),
    );
    const oihw2 = Float32Array.from({ length: 24 }, (_, at) => kernel2[(at % 8) * 3 + Math.floor(at / 8)] as number);
    const [up, base] = [nearest(convolve(joined, 3, 1, oihw2, bias2), 2), nearest(input, 2)];
    expectSame(
      await run(file, input),
      maps(3, 12, 14, (c, y, x) => read(up, c, y, x) + read(base, c, y, x)),
    );
  });

  it('refuses other weights, activations and layers', () => {
    expect(() => convertTfjs(model(layers), weights.subarray(4))).toThrow();
    expect(() => convertTfjs(model(layers), Buffer.concat([weights, weights]))).toThrow('the weight file has');
    const swish = layers.map((one, i) =>
      i === 2 ? layer('Activation', 'relu', ['one'], { activation: 'swish' }) : one,
    );
    expect(() => convertTfjs(model(swish), weights)).toThrow('activation swish');
    const fused = layers.map((one, i) => (i === 1 ? layer('Conv2D', 'one', ['input'], { activation: 'relu' }) : one));
    expect(() => convertTfjs(model(fused), weights)).toThrow('relu inside the convolution');
    const valid = layers.map((one, i) => (i === 1 ? layer('Conv2D', 'one', ['input'], { padding: 'valid' }) : one));
    expect(() => convertTfjs(model(valid), weights)).toThrow('one (3x3) has padding valid');
    const pool = layers.map((one, i) => (i === 5 ? layer('MaxPooling2D', 'up', ['two']) : one));
    expect(() => convertTfjs(model(pool), weights)).toThrow('layer MaxPooling2D (up)');
  });
});
