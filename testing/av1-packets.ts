import { OBU, leb128, parseObuHeader, readLeb128 } from '../server/media/av1-obu.ts';

/** AV1 comes in but never goes out, so the packetizer is here. */

/** OBUs of a temporal unit in low-overhead format, without their size fields. */
export function splitObus(data: Uint8Array): { readonly type: number; readonly obu: Buffer }[] {
  const obus: { type: number; obu: Buffer }[] = [];
  for (let at = 0; at < data.length;) {
    const header = parseObuHeader(data.subarray(at));
    const size = header === undefined ? undefined : readLeb128(data, at + header.bytes);
    if (header === undefined || size === undefined) throw new Error(`No OBU with a size at byte ${at}.`);
    const begin = at + header.bytes + size.bytes;
    const obu = Buffer.concat([data.subarray(at, at + header.bytes), data.subarray(begin, begin + size.value)]);
    obu[0] = (obu[0] as number) & ~0x02;
    obus.push({ type: header.type, obu });
    at = begin + size.value;
  }
  return obus;
}

export interface Av1PacketOptions {
  readonly maxBytes?: number;
  /** W = 0: every element has its length. */
  readonly lengths?: boolean;
  readonly without?: readonly number[];
}

/** Payloads of one temporal unit: at most three elements each, or with W = 0 as many as fit. N on the first of a keyframe. */
export function packetizeAv1(data: Uint8Array, options: Av1PacketOptions = {}): Buffer[] {
  const { maxBytes = 1180, lengths = false, without = [OBU.temporalDelimiter] } = options;
  const obus = splitObus(data).filter(({ type }) => !without.includes(type));
  const startsSequence = obus.some(({ type }) => type === OBU.sequenceHeader);
  const payloads: Buffer[] = [];
  let elements: Buffer[] = [];
  let continues = false;
  const flush = (continued: boolean) => {
    if (elements.length === 0) return;
    const first = startsSequence && payloads.length === 0 ? 0x08 : 0;
    const count = lengths ? 0 : elements.length;
    const parts: Uint8Array[] = [
      Buffer.of((continues ? 0x80 : 0) | (continued ? 0x40 : 0) | (count << 4) | first),
      ...elements.flatMap((element, at) =>
        !lengths && at === elements.length - 1 ? [element] : [leb128(element.length), element],
      ),
    ];
    payloads.push(Buffer.concat(parts));
    elements = [];
    continues = continued;
  };
  const used = () => elements.reduce((sum, element) => sum + element.length + 3, 1);
  for (const { obu } of obus) {
    let rest = obu;
    if (elements.length === 3 && !lengths) flush(false);
    for (let room = maxBytes - used() - 3; rest.length > room; room = maxBytes - used() - 3) {
      if (room < 16) flush(false);
      else {
        elements.push(rest.subarray(0, room));
        rest = rest.subarray(room);
        flush(true);
      }
    }
    elements.push(rest);
    // What goes on from the packet before is the first element; what follows it continues nothing.
  }
  flush(false);
  return payloads;
}
