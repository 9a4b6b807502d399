/** ncnn SRVGGNetCompact (.param text, .bin weights; 32- or 16-bit floats) -> ONNX: convolutions, PReLU, pixel shuffle + nearest. */
import { type Converted, OnnxGraph } from './onnx-file.ts';

const HALF_PRECISION = 0x01306b47;

function halfToFloat(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const mantissa = bits & 1023;
  if (exponent === 0) return sign * mantissa * 2 ** -24;
  if (exponent === 31) return mantissa ? NaN : sign * Infinity;
  return sign * (1 + mantissa / 1024) * 2 ** (exponent - 15);
}

/** @throws when the weights do not match the description */
export function convertNcnn(description: string, weights: Buffer): Converted {
  const graph = new OnnxGraph();
  let offset = 0;
  const floats = (count: number): Float32Array => {
    const out = Float32Array.from({ length: count }, (_, i) => weights.readFloatLE(offset + 4 * i));
    offset += 4 * count;
    return out;
  };
  const kernel = (count: number): Float32Array => {
    const flag = weights.readUInt32LE(offset);
    offset += 4;
    if (flag !== HALF_PRECISION) return floats(count);
    const out = Float32Array.from({ length: count }, (_, i) => halfToFloat(weights.readUInt16LE(offset + 2 * i)));
    offset += (2 * count + 3) & ~3;
    return out;
  };
  let current = 'input';
  let scale = 0;
  for (const line of description.split('\n').slice(2)) {
    const words = line.trim().split(/\s+/);
    const settings = new Map(
      words.filter((word) => /^-?\d+=/.test(word)).map((word) => word.split('=') as [string, string]),
    );
    const setting = (key: string): number => Number(settings.get(key));
    switch (words[0]) {
      case 'Convolution': {
        const outputs = setting('0');
        const size = setting('1');
        const count = setting('6');
        const shape = [outputs, count / outputs / size ** 2, size, size];
        const values = kernel(count);
        current = graph.convolution(current, shape, values, floats(outputs));
        break;
      }
      case 'PReLU':
        current = graph.prelu(current, floats(setting('0')));
        break;
      case 'PixelShuffle':
        scale = setting('0');
        current = graph.node('DepthToSpace', [current], { blocksize: scale, mode: 'CRD' });
        break;
      case 'BinaryOp':
        current = graph.node('Add', [current, graph.nearest('input', scale)]);
        break;
      case 'Input':
      case 'Split':
      case 'Interp':
      case '':
      case undefined:
        break;
      default:
        throw new Error(`ncnn: layer ${words[0]} is not part of SRVGGNetCompact`);
    }
  }
  if (offset !== weights.length) throw new Error(`ncnn: ${weights.length - offset} bytes of weights were not used`);
  return graph.finish(current, 3);
}
