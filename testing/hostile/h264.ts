/** H.264 parameter sets and slices by hand: any size, any id, legal syntax. */

const ue = (value: number): string => {
  const code = (value + 1).toString(2);
  return '0'.repeat(code.length - 1) + code;
};

/** Bits, stop bit and emulation prevention (ITU-T H.264 section 7.4.1). */
function rbsp(bits: string): Buffer {
  const padded = `${bits}1`.padEnd(Math.ceil((bits.length + 1) / 8) * 8, '0');
  const out: number[] = [];
  let zeros = 0;
  for (let at = 0; at < padded.length; at += 8) {
    const byte = parseInt(padded.slice(at, at + 8), 2);
    if (zeros >= 2 && byte <= 3) {
      out.push(3);
      zeros = 0;
    }
    out.push(byte);
    zeros = byte === 0 ? zeros + 1 : 0;
  }
  return Buffer.from(out);
}

export interface SpsFields {
  readonly width: number;
  readonly height: number;
  readonly profile?: number;
  readonly referenceFrames?: number;
  readonly frameNumberBits?: number;
}

export function sequenceParameterSet(fields: SpsFields): Buffer {
  const { width, height, profile = 66, referenceFrames = 1, frameNumberBits = 4 } = fields;
  const high = profile === 100 ? `${ue(1)}${ue(0)}${ue(0)}00` : '';
  const size = `${ue(width / 16 - 1)}${ue(height / 16 - 1)}`;
  const bits = `${ue(0)}${high}${ue(frameNumberBits - 4)}${ue(2)}${ue(referenceFrames)}0${size}1100`;
  return Buffer.concat([Buffer.of(0x67, profile, 0, 62), rbsp(bits)]);
}

/** @param sliceGroups 0 to 7 more than one: flexible macroblock ordering, which no decoder here takes */
export function pictureParameterSet(sliceGroups = 0): Buffer {
  const groups = sliceGroups === 0 ? '' : ue(6);
  const bits = `${ue(0)}${ue(0)}00${ue(sliceGroups)}${groups}${ue(0)}${ue(0)}000111000`;
  return Buffer.concat([Buffer.of(0x68), rbsp(bits)]);
}

/** A PPS of this id, followed by bytes that no decoder reads. */
export function paddedPictureParameterSet(id: number, bytes: number): Buffer {
  const bits = `${ue(id)}1`;
  const head = bits.match(/.{1,8}/g)?.map((byte) => parseInt(byte.padEnd(8, '1'), 2)) ?? [];
  return Buffer.concat([Buffer.of(0x68, ...head), Buffer.alloc(bytes, 0xa5)]);
}

export const TINY_IDR = Buffer.of(0x65, 0x88, 0x80, 0x10);

export const annexB = (units: readonly Uint8Array[]): Buffer =>
  Buffer.concat(units.flatMap((unit) => [Buffer.of(0, 0, 0, 1), unit]));

/** What an H.264 stream may claim that no camera sends. */
export function absurdStreams(): Readonly<Record<string, Buffer>> {
  const idr = Buffer.concat([Buffer.of(0x65), rbsp(`${ue(0)}${ue(7)}${ue(0)}0000${ue(0)}00`), Buffer.alloc(500, 0x5a)]);
  const stream = (fields: SpsFields, pps = pictureParameterSet()) => annexB([sequenceParameterSet(fields), pps, idr]);
  const small = { width: 320, height: 176 };
  return {
    '16384x16384': stream({ width: 16_384, height: 16_384 }),
    '131072x16': stream({ width: 131_072, height: 16 }),
    '16x131072': stream({ width: 16, height: 131_072 }),
    '16x16': stream({ width: 16, height: 16 }),
    '1920x1088 with 16 references': stream({ width: 1920, height: 1088, referenceFrames: 16, profile: 100 }),
    '1048576x1048576': stream({ width: 1_048_576, height: 1_048_576 }),
    'slice groups': stream(small, pictureParameterSet(7)),
    '16 bits of frame_num': stream({ ...small, frameNumberBits: 16 }),
    '3000 parameter sets': annexB([
      ...Array.from({ length: 1500 }, () => sequenceParameterSet(small)),
      ...Array.from({ length: 1500 }, () => pictureParameterSet()),
    ]),
  };
}
