/** Writes small ONNX files for tests: just enough protobuf (onnx.proto3, field numbers from there) for a few nodes. */

type Shape = readonly (number | string)[];

export interface TestTensor {
  readonly name: string;
  readonly shape: Shape;
  readonly type?: keyof typeof ELEMENT;
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

const ELEMENT = { float32: 1, uint8: 2, int32: 6 } as const;

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

/** nearestModel(4), which fails on every frame that is not `side` by `side`. */
export function fixedSizeModel(side: number): Uint8Array {
  return onnxFile({
    inputs: [FRAME],
    outputs: [UPSCALED],
    nodes: [{ op: 'Add', inputs: ['frame', 'zeros'], outputs: ['same'] }, nearest('same', 'upscaled')],
    constants: { ...scales(4), zeros: { dims: [1, 1, side, side], values: Array<number>(side * side).fill(0) } },
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

/**
 * What a graph for GPUs looks like: planes of bytes in, x4 results of four samples in an int32, float state. Each frame comes out one late,
 * its samples repeated; zeros at first.
 */
export function packedModel(): Uint8Array {
  const parts = ['luma', 'chroma'] as const;
  const states = parts.map((name): TestTensor => {
    const [channels, height, width] = name === 'luma' ? [1, 'h', 'w'] : [2, 'half_h', 'half_w'];
    return { name: `${name}_state`, shape: [1, channels, height, width] };
  });
  const float = { to: ELEMENT.float32 };
  const int = { to: ELEMENT.int32 };
  return onnxFile({
    inputs: [plane('luma', 1, 'h', 'w'), plane('chroma', 2, 'half_h', 'half_w'), ...states],
    outputs: [
      { name: 'upscaled_luma', shape: [1, 1, 'h_out', 'words'], type: 'int32' },
      { name: 'upscaled_chroma', shape: [1, 2, 'half_h_out', 'half_words'], type: 'int32' },
      ...states.map((state) => ({ ...state, name: `${state.name}_out` })),
    ],
    nodes: [
      { op: 'Cast', inputs: ['pairs'], outputs: ['pairs_int'], attributes: int },
      ...parts.flatMap((name): TestNode[] => [
        { op: 'Cast', inputs: [name], outputs: [`${name}_state_out`], attributes: float },
        // One sample four times: times 257 as a float, which is exact, times 65537 as an integer.
        { op: 'Mul', inputs: [`${name}_state`, 'byte_pair'], outputs: [`${name}_pair`] },
        { ...nearest(`${name}_pair`, `${name}_rows`) },
        { op: 'Cast', inputs: [`${name}_rows`], outputs: [`${name}_int`], attributes: int },
        { op: 'Mul', inputs: [`${name}_int`, 'pairs_int'], outputs: [`upscaled_${name}`] },
      ]),
    ],
    constants: {
      scales: { dims: [4], values: [1, 1, 4, 1] },
      byte_pair: { dims: [1], values: [257] },
      pairs: { dims: [1], values: [65537] },
    },
  });
}
