/** Writes small ONNX files for tests: just enough protobuf (onnx.proto3, field numbers from there) for a few nodes. */

type Shape = readonly (number | string)[];

export interface TestTensor {
  readonly name: string;
  readonly shape: Shape;
  readonly type?: 'float32' | 'uint8';
}

export interface TestNode {
  readonly op: string;
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes?: Readonly<Record<string, string | number | readonly number[]>>;
}

export interface TestGraph {
  readonly inputs: readonly TestTensor[];
  readonly outputs: readonly TestTensor[];
  readonly nodes: readonly TestNode[];
  /** float32 constants. */
  readonly constants?: Readonly<
    Record<string, { readonly dims: readonly number[]; readonly values: readonly number[] }>
  >;
}

const ELEMENT = { float32: 1, uint8: 2 } as const;

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

const integer = (field: number, value: number): number[] => [...varint(field * 8), ...varint(value)];
const bytes = (field: number, content: Iterable<number>): number[] => {
  const body = [...content];
  return [...varint(field * 8 + 2), ...varint(body.length), ...body];
};
const text = (field: number, value: string): number[] => bytes(field, Buffer.from(value));
const floats = (values: readonly number[]): Uint8Array => new Uint8Array(new Float32Array(values).buffer);

function attribute([name, value]: [string, string | number | readonly number[]]): number[] {
  const head = text(1, name);
  if (typeof value === 'string') return [...head, ...text(4, value), ...integer(20, 3)];
  if (typeof value === 'number') return [...head, ...integer(3, value), ...integer(20, 2)];
  return [...head, ...value.flatMap((item) => integer(8, item)), ...integer(20, 7)];
}

function valueInfo({ name, shape, type = 'float32' }: TestTensor): number[] {
  const dims = shape.flatMap((dim) => bytes(1, typeof dim === 'number' ? integer(1, dim) : text(2, dim)));
  const tensor = [...integer(1, ELEMENT[type]), ...bytes(2, dims)];
  return [...text(1, name), ...bytes(2, bytes(1, tensor))];
}

export function onnxFile(graph: TestGraph): Uint8Array {
  const nodes = graph.nodes.flatMap(({ op, inputs, outputs, attributes = {} }) =>
    bytes(1, [
      ...inputs.flatMap((name) => text(1, name)),
      ...outputs.flatMap((name) => text(2, name)),
      ...text(4, op),
      ...Object.entries(attributes).flatMap((entry) => bytes(5, attribute(entry))),
    ]),
  );
  const constants = Object.entries(graph.constants ?? {}).flatMap(([name, { dims, values }]) =>
    bytes(5, [
      ...dims.flatMap((dim) => integer(1, dim)),
      ...integer(2, 1),
      ...text(8, name),
      ...bytes(9, floats(values)),
    ]),
  );
  const body = [
    ...nodes,
    ...text(2, 'test'),
    ...constants,
    ...graph.inputs.flatMap((tensor) => bytes(11, valueInfo(tensor))),
    ...graph.outputs.flatMap((tensor) => bytes(12, valueInfo(tensor))),
  ];
  return new Uint8Array([...integer(1, 8), ...bytes(7, body), ...bytes(8, [...text(1, ''), ...integer(2, 13)])]);
}

const FRAME: TestTensor = { name: 'frame', shape: [1, 3, 'height', 'width'] };
const UPSCALED: TestTensor = { name: 'upscaled', shape: [1, 3, 'h', 'w'] };

function nearest(from: string, to: string): TestNode {
  return {
    op: 'Resize',
    inputs: [from, '', 'scales'],
    outputs: [to],
    attributes: { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
  };
}

const scales = (scale: number) => ({ scales: { dims: [4], values: [1, 1, scale, scale] } });

/** Every sample repeated `scale` times in both directions. */
export function nearestModel(scale: number, frame: TestTensor = FRAME): Uint8Array {
  return onnxFile({
    inputs: [frame],
    outputs: [UPSCALED],
    nodes: [nearest(frame.name, 'upscaled')],
    constants: scales(scale),
  });
}

/** Its result is the frame before, enlarged: black at first, then each frame one late. Proves that state travels. */
export function delayModel(scale: number, state: readonly [string, string] = ['hidden', 'hidden_out']): Uint8Array {
  const [input, output] = state;
  return onnxFile({
    inputs: [FRAME, { name: input, shape: [1, 3, 'height', 'width'] }],
    outputs: [UPSCALED, { name: output, shape: [1, 3, 'height', 'width'] }],
    nodes: [nearest(input, 'upscaled'), { op: 'Identity', inputs: ['frame'], outputs: [output] }],
    constants: scales(scale),
  });
}

const plane = (name: string, channels: number, height: string, width: string): TestTensor => ({
  name,
  shape: [1, channels, height, width],
  type: 'uint8',
});

/**
 * The yuv420p layout: luma enlarged as it is; chroma is the frame before's, enlarged (zeros at first), so that a uint8
 * state of half the frame's size is proved to travel.
 */
export function planarModel(scale: number): Uint8Array {
  return onnxFile({
    inputs: [
      plane('luma', 1, 'h', 'w'),
      plane('chroma', 2, 'half_h', 'half_w'),
      plane('hidden', 2, 'half_h', 'half_w'),
    ],
    outputs: [
      plane('upscaled_luma', 1, 'h_out', 'w_out'),
      plane('upscaled_chroma', 2, 'half_h_out', 'half_w_out'),
      plane('hidden_out', 2, 'half_h', 'half_w'),
    ],
    nodes: [
      nearest('luma', 'upscaled_luma'),
      nearest('hidden', 'upscaled_chroma'),
      { op: 'Identity', inputs: ['chroma'], outputs: ['hidden_out'] },
    ],
    constants: scales(scale),
  });
}
