import { describe, expect, it } from 'vitest';
import { parseColourSpace } from '../colour-space.ts';
import { buildRtpHeader, findExtension, parseRtp } from '../rtp.ts';

const BT709_FULL = { matrix: 'bt709', range: 'full' } as const;

describe('the color-space header extension', () => {
  it('reads what Chromium sends of a canvas: BT.709, sRGB transfer, full range', () => {
    // primaries 1, transfer 13, matrix 1, range 2 in bits 5-4, siting unspecified
    expect(parseColourSpace(Uint8Array.of(1, 13, 1, 0x20))).toEqual(BT709_FULL);
  });

  it('reads every matrix a browser sends, in both ranges, with any siting bits', () => {
    const expected = { 1: 'bt709', 4: 'bt601', 5: 'bt601', 6: 'bt601', 7: 'bt709', 9: 'bt2020', 10: 'bt2020' };
    for (const [code, matrix] of Object.entries(expected)) {
      for (const siting of [0, 0b0101, 0b1010, 0b11000000]) {
        const parse = (range: number) => parseColourSpace(Uint8Array.of(1, 1, Number(code), (range << 4) | siting));
        expect(parse(1)).toEqual({ matrix, range: 'limited' });
        expect(parse(2)).toEqual({ matrix, range: 'full' });
      }
    }
  });

  it('reads the form with HDR metadata, and ignores the metadata', () => {
    const value = new Uint8Array(28).fill(0xff);
    value.set([9, 16, 9, 0x10]);
    expect(parseColourSpace(value)).toEqual({ matrix: 'bt2020', range: 'limited' });
  });

  it('fills an unspecified value with WebRTC’s default, and gives nothing when both are unspecified', () => {
    expect(parseColourSpace(Uint8Array.of(2, 2, 2, 0x20))).toEqual({ matrix: 'bt601', range: 'full' });
    expect(parseColourSpace(Uint8Array.of(1, 1, 1, 0x00))).toEqual({ matrix: 'bt709', range: 'limited' });
    expect(parseColourSpace(Uint8Array.of(1, 1, 1, 0x30))).toEqual({ matrix: 'bt709', range: 'limited' });
    expect(parseColourSpace(Uint8Array.of(1, 1, 2, 0x00))).toBeUndefined();
    for (const matrix of [0, 3, 8, 11, 14, 200, 255]) {
      expect(parseColourSpace(Uint8Array.of(1, 1, matrix, 0x30)), `matrix ${matrix}`).toBeUndefined();
    }
  });

  it('refuses every other length', () => {
    for (let length = 0; length <= 64; length += 1) {
      if (length === 4 || length === 28) continue;
      expect(parseColourSpace(new Uint8Array(length).fill(1)), `${length} bytes`).toBeUndefined();
    }
  });

  it('is found among others in one-byte and, with HDR metadata, in two-byte headers', () => {
    const fields = { marker: true, payloadType: 96, sequenceNumber: 1, timestamp: 2, ssrc: 3 };
    const header = buildRtpHeader(fields, [
      { id: 3, value: Uint8Array.of(0, 7) },
      { id: 8, value: Uint8Array.of(1, 13, 1, 0x20) },
    ]);
    const oneByte = parseRtp(Buffer.concat([header, Buffer.of(0x10)]));
    expect(oneByte && parseColourSpace(findExtension(oneByte, 8) ?? Buffer.of())).toEqual(BT709_FULL);

    const block = Buffer.concat([Buffer.of(3, 2, 0, 7, 8, 28, 9, 16, 9, 0x20), Buffer.alloc(24), Buffer.alloc(2)]);
    const twoByte = buildRtpHeader(fields);
    twoByte[0] = 0x90;
    const packet = parseRtp(Buffer.concat([twoByte, Buffer.of(0x10, 0x00, 0, block.length / 4), block]));
    expect(packet && parseColourSpace(findExtension(packet, 8) ?? Buffer.of())).toEqual({
      matrix: 'bt2020',
      range: 'full',
    });
  });
});
