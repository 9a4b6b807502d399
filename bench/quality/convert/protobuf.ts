/** The little of the protobuf wire format that ONNX writing and TensorFlow GraphDef reading need. */

export type Field = { number: number; value: bigint | Uint8Array };

/** Top-level fields of one message; fixed-size and length-delimited values come as bytes, varints as bigint. */
export function* readFields(bytes: Uint8Array): Generator<Field> {
  let offset = 0;
  const varint = (): bigint => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[offset++];
      if (byte === undefined) throw new Error('protobuf: the message ends inside a number; is the file complete?');
      value |= BigInt(byte & 127) << shift;
      if (byte < 128) return value;
    }
  };
  while (offset < bytes.length) {
    const key = Number(varint());
    const [number, wire] = [key >> 3, key & 7];
    if (wire === 0) {
      yield { number, value: varint() };
      continue;
    }
    const length = wire === 2 ? Number(varint()) : wire === 1 ? 8 : wire === 5 ? 4 : -1;
    if (length < 0 || offset + length > bytes.length)
      throw new Error(
        `protobuf: field ${number} has wire type ${wire} or runs past the end; is this the right kind of file?`,
      );
    yield { number, value: bytes.subarray(offset, offset + length) };
    offset += length;
  }
}

export const fieldBytes = (field: Field): Uint8Array =>
  typeof field.value === 'bigint' ? Uint8Array.of(Number(field.value)) : field.value;
export const fieldText = (field: Field): string => new TextDecoder().decode(fieldBytes(field));

/** Collects one message's fields. */
export class MessageWriter {
  readonly #parts: Uint8Array[] = [];

  #varint(value: number): void {
    const bytes: number[] = [];
    let rest = BigInt.asUintN(64, BigInt(value));
    do {
      const low = Number(rest & 127n);
      rest >>= 7n;
      bytes.push(rest ? low | 128 : low);
    } while (rest);
    this.#parts.push(Uint8Array.from(bytes));
  }

  integer(number: number, value: number): this {
    this.#varint(number << 3);
    this.#varint(value);
    return this;
  }

  bytes(number: number, value: Uint8Array): this {
    this.#varint((number << 3) | 2);
    this.#varint(value.length);
    this.#parts.push(value);
    return this;
  }

  text(number: number, value: string): this {
    return this.bytes(number, new TextEncoder().encode(value));
  }

  float(number: number, value: number): this {
    this.#varint((number << 3) | 5);
    this.#parts.push(new Uint8Array(Float32Array.of(value).buffer));
    return this;
  }

  message(number: number, inner: MessageWriter): this {
    return this.bytes(number, inner.finish());
  }

  finish(): Uint8Array {
    return Buffer.concat(this.#parts);
  }
}
