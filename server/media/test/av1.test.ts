import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { packetizeAv1, splitObus } from '../../../testing/av1-packets.ts';
import { makeAv1Stream } from '../../../testing/av1-stream.ts';
import { FrameAssembler } from '../assembler.ts';
import { Av1Depacketizer, parseAv1Payload } from '../av1.ts';
import { OBU, leb128, parseSequenceHeader, readLeb128 } from '../av1-obu.ts';
import { startsPicture } from '../picture-start.ts';
import type { AccessUnit } from '../types.ts';

/** Sequence headers as libaom (Chromium) and SVT-AV1 write them need not be here: real streams are decoded in codec/test/av1.test.ts. */
const SEQUENCE = Buffer.of(0x08, 0x00, 0x00, 0x00, 0x02, 0xaf, 0xff, 0x9f, 0xff, 0x30, 0x08);
/** Frame OBUs whose first bits are show_existing_frame, frame_type (2), show_frame. */
const key = (bytes = 4) => Buffer.concat([Buffer.of(0x30, 0x10), Buffer.alloc(bytes, 0x5a)]);
const inter = (bytes = 4) => Buffer.concat([Buffer.of(0x30, 0x30), Buffer.alloc(bytes, 0xa5)]);
/** With the size field that the depacketizer adds. */
const sized = (obu: Buffer) =>
  Buffer.concat([Buffer.of((obu[0] as number) | 2), leb128(obu.length - 1), obu.subarray(1)]);
const unit = (...obus: Buffer[]) => Buffer.concat([Buffer.of(0x12, 0x00), ...obus.map(sized)]);
const element = (obu: Uint8Array) => Buffer.concat([leb128(obu.length), obu]);
const [Z, Y, N] = [0x80, 0x40, 0x08] as const;

function join(...payloads: Buffer[]) {
  const depacketizer = new Av1Depacketizer();
  return joinWith(depacketizer, payloads);
}

function joinWith(depacketizer: Av1Depacketizer, payloads: readonly Buffer[]) {
  for (const payload of payloads) depacketizer.add({ payload });
  return depacketizer.finish();
}

describe('the aggregation header (section 4.4)', () => {
  it('W = 0: every element has its length; W = 1 to 3: the last one has none', () => {
    const all = Buffer.concat([Buffer.of(N), element(SEQUENCE), element(key())]);
    const two = Buffer.concat([Buffer.of(0x20 | N), element(SEQUENCE), key()]);
    for (const payload of [all, two]) expect(join(payload)).toEqual({ data: unit(SEQUENCE, key()), keyframe: true });
    const three = Buffer.concat([Buffer.of(0x30), element(inter()), element(inter(9)), inter(1)]);
    expect(join(three)).toEqual({ data: unit(inter(), inter(9), inter(1)), keyframe: false });
  });

  it('Y and Z: a frame over three packets, with and without lengths', () => {
    const frame = key(200);
    const pieces = [frame.subarray(0, 60), frame.subarray(60, 61), frame.subarray(61)] as const;
    const packets = [
      Buffer.concat([Buffer.of(Y | 0x20 | N), element(SEQUENCE), pieces[0]]),
      Buffer.concat([Buffer.of(Z | Y), element(pieces[1])]),
      Buffer.concat([Buffer.of(Z | 0x20), element(pieces[2]), inter()]),
    ];
    expect(join(...packets)).toEqual({ data: unit(SEQUENCE, frame, inter()), keyframe: true });
  });

  it.each([
    ['nothing behind it', Buffer.of(0x10)],
    ['N in the middle of an OBU', Buffer.concat([Buffer.of(Z | N | 0x10), inter()])],
    ['fewer elements than W', Buffer.concat([Buffer.of(0x30), element(inter()), element(inter())])],
    ['a length beyond the packet', Buffer.concat([Buffer.of(0x20), leb128(99), inter()])],
    ['a length that does not end', Buffer.of(0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)],
    ['the forbidden bit', Buffer.of(0x10, 0xb0, 0x30, 1)],
    ['an empty OBU', Buffer.concat([Buffer.of(0x00, 0x00), element(inter())])],
    ['a continuation of nothing', Buffer.concat([Buffer.of(Z | 0x10), inter()])],
    ['an end of nothing', Buffer.concat([Buffer.of(Y | 0x10), inter()])],
    ['no frame', Buffer.concat([Buffer.of(0x10), SEQUENCE])],
    ['a size field that lies', Buffer.concat([Buffer.of(0x10, 0x32, 40, 0x10), Buffer.alloc(8)])],
  ])('damaged: %s', (_, payload) => {
    expect(join(payload)).toBe('damaged');
  });

  it('damaged: a fragment without its end, or whose middle is missing', () => {
    const [first, middle, last] = packetizeAv1(unit(inter(3000)));
    expect([first, middle, last].every((part) => part !== undefined)).toBe(true);
    expect(join(first as Buffer, middle as Buffer)).toBe('damaged');
    expect(join(first as Buffer, Buffer.concat([Buffer.of(0x10), inter()]))).toBe('damaged');
    expect(join(middle as Buffer, last as Buffer)).toBe('damaged');
  });
});

describe('temporal units', () => {
  it('leave out delimiters, tile lists and padding, and keep OBUs that have their size already', () => {
    const delimiter = Buffer.of(0x10);
    const list = Buffer.of(OBU.tileList << 3, 1, 2);
    const padding = Buffer.of(OBU.padding << 3, 0, 0, 0x80);
    const extended = Buffer.of(0x34, 0x20, 0x30, 7); // temporal layer 1
    const payload = Buffer.concat([
      Buffer.of(0x00),
      ...[delimiter, list, padding, sized(inter()), extended].map((obu) => element(obu)),
    ]);
    const kept = Buffer.concat([unit(inter()), Buffer.of(0x36, 0x20, 2, 0x30, 7)]);
    expect(join(payload)).toEqual({ data: kept, keyframe: false });
  });

  it('get the remembered sequence header in front of a keyframe without one, and are none before there is one', () => {
    const depacketizer = new Av1Depacketizer();
    const alone = [Buffer.concat([Buffer.of(0x10), key()])];
    expect(joinWith(depacketizer, alone)).toEqual({ data: unit(key()), keyframe: false });
    const whole = [Buffer.concat([Buffer.of(0x20 | N), element(SEQUENCE), key()])];
    expect(joinWith(depacketizer, whole)).toMatchObject({ keyframe: true });
    expect(joinWith(depacketizer, alone)).toEqual({ data: unit(SEQUENCE, key()), keyframe: true });
    expect(joinWith(depacketizer, [Buffer.concat([Buffer.of(0x10), inter()])])).toEqual({
      data: unit(inter()),
      keyframe: false,
    });
  });

  it('have the base layer alone of spatial layers', () => {
    const upper = Buffer.of(0x34, 0x08, 0x30, 7);
    const payload = Buffer.concat([Buffer.of(0x30 | N), element(SEQUENCE), element(key()), upper]);
    expect(join(payload)).toEqual({ data: unit(SEQUENCE, key()), keyframe: true });
    expect(join(Buffer.concat([Buffer.of(0x10), upper])), 'without it').toBe('damaged');
  });

  it.each([
    ['a hidden key frame', 0x00],
    ['a frame shown again', 0x80],
    ['an intra-only frame', 0x50],
    ['a switch frame', 0x70],
  ])('begin nothing with %s', (_, bits) => {
    const frame = Buffer.of(0x30, bits, 1, 2);
    expect(join(Buffer.concat([Buffer.of(0x20), element(SEQUENCE), frame]))).toMatchObject({ keyframe: false });
  });

  it('begin in a packet whose first OBU is whole, no tile group and of the base layer', () => {
    const starts = (...bytes: (Buffer | number)[]) =>
      startsPicture('AV1', Buffer.concat(bytes.map((part) => (typeof part === 'number' ? Buffer.of(part) : part))));
    expect(starts(0x20 | N, element(SEQUENCE), key())).toBe(true);
    expect(starts(0x10, inter())).toBe(true);
    expect(starts(Z | 0x10, inter())).toBe(false);
    expect(starts(0x10, Buffer.of(OBU.tileGroup << 3, 1, 2))).toBe(false);
    expect(starts(0x10, Buffer.of(0x34, 0x08, 0x30)), 'second spatial layer').toBe(false);
    expect(starts(0x10)).toBe(false);
  });
});

describe('a real stream of SVT-AV1', () => {
  const stream = makeAv1Stream(160, 96, 6);

  it.each([
    ['one packet a unit', { maxBytes: 60_000 }],
    ['packets of 100 bytes', { maxBytes: 100 }],
    ['packets of 100 bytes with W = 0', { maxBytes: 100, lengths: true }],
    ['delimiters sent, too', { without: [] }],
  ])('comes back byte for byte: %s', (_, options) => {
    const depacketizer = new Av1Depacketizer();
    const [first] = stream as [AccessUnit];
    expect(packetizeAv1(first.data, options).length > 1).toBe('maxBytes' in options && options.maxBytes === 100);
    for (const { data, keyframe } of stream) {
      const payloads = packetizeAv1(data, options);
      expect(payloads.every((payload, at) => startsPicture('AV1', payload) === (at === 0))).toBe(true);
      expect(joinWith(depacketizer, payloads)).toEqual({ data: Buffer.from(data), keyframe });
    }
  });

  it('says its size in the sequence header', () => {
    const header = splitObus((stream[0] as { data: Uint8Array }).data).find(({ type }) => type === OBU.sequenceHeader);
    const payload = (header?.obu ?? Buffer.alloc(1)).subarray(1);
    expect(parseSequenceHeader(payload)).toEqual({
      width: 160,
      height: 96,
      stillPictures: false,
      spatialLayers: false,
    });
    expect(parseSequenceHeader(payload.subarray(0, 4))).toBeUndefined();
  });
});

describe('loss', () => {
  /** A keyframe every three units; the packets named, by unit and place, are lost on the way. */
  function receive(lost: readonly (readonly [number, number])[]) {
    const units: number[] = [];
    const drops: string[] = [];
    let needed = 0;
    const assembler = new FrameAssembler({
      onAccessUnit: ({ mediaTime }) => units.push(mediaTime),
      onDrop: (reason) => drops.push(reason),
      onKeyframeNeeded: () => (needed += 1),
    });
    let lostBefore = 0;
    for (let unitNumber = 0; unitNumber < 7; unitNumber += 1) {
      const data = unitNumber % 3 === 0 ? unit(SEQUENCE, key(200)) : unit(inter(200));
      const payloads = packetizeAv1(data, { maxBytes: 100 });
      payloads.forEach((payload, at) => {
        if (lost.some(([lostUnit, packet]) => lostUnit === unitNumber && packet === at)) {
          lostBefore += 1;
          return;
        }
        const packet = { payload, timestamp: unitNumber, marker: at === payloads.length - 1 };
        assembler.add({ packet, codec: 'AV1', mediaTime: unitNumber, receivedAtUs: 0, lostBefore }, 0);
        lostBefore = 0;
      });
    }
    return { units, drops, needed };
  }

  it('of a packet of an inter frame: everything waits for the next keyframe, which is asked for', () => {
    expect(receive([])).toEqual({ units: [0, 1, 2, 3, 4, 5, 6], drops: [], needed: 0 });
    const { units, drops, needed } = receive([[1, 1]]);
    expect([units, drops]).toEqual([
      [0, 3, 4, 5, 6],
      ['incomplete', 'awaiting-keyframe'],
    ]);
    expect(needed).toBeGreaterThan(0);
  });

  it('of the first packet of a keyframe: its tail is no picture', () => {
    expect(receive([[3, 0]]).units).toEqual([0, 1, 2, 6]);
  });

  it('of a whole frame: the packet behind it begins a picture, of which only a keyframe is taken', () => {
    const whole = Array.from({ length: 40 }, (_, packet) => [2, packet] as const);
    expect(receive(whole).units).toEqual([0, 1, 3, 4, 5, 6]);
  });
});

describe('what a hostile sender can do', () => {
  it('numbers: leb128 of more than 32 bits or eight bytes is none', () => {
    for (const value of [0, 1, 127, 128, 16_383, 16_384, 0xffff_ffff]) {
      expect(readLeb128(leb128(value), 0)).toEqual({ value, bytes: leb128(value).length });
    }
    expect(readLeb128(leb128(0x1_0000_0000), 0)).toBeUndefined();
    expect(readLeb128(Buffer.alloc(9, 0x80), 0)).toBeUndefined();
  });

  it('sequence headers: at most eight in a unit, at most 1 KiB each, no number without end inside', () => {
    const many = (count: number, header: Buffer) =>
      Buffer.concat([Buffer.of(0x00), ...Array.from({ length: count }, () => element(header)), element(key())]);
    expect(join(many(8, SEQUENCE))).toMatchObject({ keyframe: true });
    expect(join(many(9, SEQUENCE))).toBe('damaged');
    expect(join(many(1, Buffer.concat([SEQUENCE, Buffer.alloc(1020)])))).toBe('damaged');
    // timing_info_present_flag, equal_picture_interval, then a uvlc() of zeros.
    const uvlc = Buffer.concat([Buffer.of(0x04), Buffer.alloc(8), Buffer.of(0x02), Buffer.alloc(900)]);
    expect(() => parseSequenceHeader(uvlc)).not.toThrow();
  });

  it('elements: at most 1024 in a packet, 4096 OBUs in a unit', () => {
    const tiny = Buffer.alloc(2 * 1024, Buffer.of(0x01, 0x28));
    expect(parseAv1Payload(Buffer.concat([Buffer.of(0x00), tiny]))?.elements).toHaveLength(1024);
    expect(parseAv1Payload(Buffer.concat([Buffer.of(0x00), tiny, Buffer.of(0x01, 0x28)]))).toBeUndefined();
    const packet = Buffer.concat([Buffer.of(0x00), tiny]);
    const frame = Buffer.concat([Buffer.of(0x10), inter()]);
    expect(join(frame, packet, packet, packet)).toMatchObject({ keyframe: false });
    expect(join(frame, packet, packet, packet, packet)).toBe('damaged');
  });

  it('noise: never more bytes out than came in and their sizes', () => {
    const depacketizer = new Av1Depacketizer();
    for (let round = 0; round < 20_000; round += 1) {
      const payload = randomBytes(round % 40);
      depacketizer.add({ payload });
      const joined = depacketizer.finish();
      if (typeof joined !== 'string') expect(joined.data.length).toBeLessThan(3 * payload.length + 1100);
    }
  });
});
