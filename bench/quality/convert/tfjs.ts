/** TensorFlow.js layers models (model.json + one weight file) built of Conv2D, Activation, Concatenate, Add, UpSampling2D -> ONNX. */
import { type Converted, OnnxGraph, toOihw } from './onnx-file.ts';

interface Layer {
  class_name: string;
  config: {
    name: string;
    activation?: string;
    padding?: string;
    strides?: number[];
    size?: number[];
    interpolation?: string;
  };
  inbound_nodes: [string, number, number, object][][];
}

interface LayersModel {
  modelTopology: { model_config: { config: { layers: Layer[]; output_layers: [string, number, number][] } } };
  weightsManifest: { weights: { name: string; shape: number[]; dtype: string }[] }[];
}

/** @throws on a layer kind this converter does not know, by name */
export function convertTfjs(json: string, weights: Buffer): Converted {
  const model = JSON.parse(json) as LayersModel;
  const tensors = new Map<string, { shape: number[]; values: Float32Array }>();
  let offset = 0;
  for (const { name, shape, dtype } of model.weightsManifest.flatMap((group) => group.weights)) {
    if (dtype !== 'float32') throw new Error(`tfjs: ${name} is ${dtype}; only float32 weights are read`);
    const count = shape.reduce((a, b) => a * b, 1);
    tensors.set(name, {
      shape,
      values: Float32Array.from({ length: count }, (_, i) => weights.readFloatLE(offset + 4 * i)),
    });
    offset += 4 * count;
  }
  if (offset !== weights.length)
    throw new Error(`tfjs: the weight file has ${weights.length} bytes, the manifest ${offset}`);
  const graph = new OnnxGraph();
  const outputs = new Map<string, string>();
  const { layers, output_layers: last } = model.modelTopology.model_config.config;
  for (const { class_name: kind, config, inbound_nodes: inbound } of layers) {
    const inputs = (inbound[0] ?? []).map(([name]) => outputs.get(name) ?? '');
    const [first = ''] = inputs;
    const build = (): string => {
      switch (kind) {
        case 'InputLayer':
          return 'input';
        case 'Conv2D': {
          const kernel = tensors.get(`${config.name}/kernel`);
          const bias = tensors.get(`${config.name}/bias`);
          if (!kernel || !bias) throw new Error(`tfjs: weights of ${config.name} are missing`);
          if ((config.activation ?? 'linear') !== 'linear')
            throw new Error(`tfjs: ${config.name} has ${config.activation} inside the convolution, which is not read`);
          const [h = 0, w = 0, i = 0, o = 0] = kernel.shape;
          // A kernel of one pixel needs no padding, whatever it says.
          const padded = (config.padding ?? 'same') === 'same' || (h === 1 && w === 1);
          if (!padded || config.strides?.some((stride) => stride !== 1))
            throw new Error(
              `tfjs: ${config.name} (${h}x${w}) has padding ${config.padding}, strides ${config.strides?.join()}`,
            );
          return graph.convolution(first, [o, i, h, w], toOihw(kernel.values, kernel.shape), bias.values);
        }
        case 'Activation':
          if (config.activation !== 'relu') throw new Error(`tfjs: activation ${config.activation} is not known`);
          return graph.node('Relu', [first]);
        case 'Concatenate':
          return graph.node('Concat', inputs, { axis: 1 });
        case 'Add':
          return graph.node('Add', inputs);
        case 'UpSampling2D':
          if ((config.interpolation ?? 'nearest') !== 'nearest')
            throw new Error(`tfjs: ${config.name} enlarges by ${config.interpolation}, not nearest`);
          return graph.nearest(first, config.size?.[0] ?? 1);
        default:
          throw new Error(`tfjs: layer ${kind} (${config.name}) is not known`);
      }
    };
    outputs.set(config.name, build());
  }
  return graph.finish(outputs.get(last[0]?.[0] ?? '') ?? '', 3);
}
