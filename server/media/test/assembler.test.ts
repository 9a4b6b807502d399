import { describe, expect, it } from 'vitest';
import { FrameAssembler } from '../assembler.ts';
import type { AccessUnit, DropReason } from '../types.ts';
import { packetizeVp8 } from '../vp8.ts';

const BT709_FULL = { matrix: 'bt709', range: 'full' } as const;

describe('FrameAssembler', () => {
  function assemble() {
    const units: AccessUnit[] = [];
    const drops: DropReason[] = [];
    let needed = 0;
    const assembler = new FrameAssembler({
      onAccessUnit: (unit) => units.push(unit),
      onDrop: (reason) => drops.push(reason),
      onKeyframeNeeded: () => (needed += 1),
    });
    const frame = (keyframe: boolean, bytes = 2500) => {
      const data = Buffer.alloc(bytes, 0x55);
      data[0] = keyframe ? 0x10 : 0x11;
      return packetizeVp8(data, 1, 1200);
    };
    const feed = (timestamp: number, payloads: readonly Buffer[], lost: Record<number, number> = {}, markers = true) =>
      payloads.forEach((payload, index) =>
        assembler.add(
          {
            packet: { payload, timestamp, marker: markers && index === payloads.length - 1 },
            codec: 'VP8',
            mediaTime: timestamp,
            receivedAtUs: timestamp + index,
            lostBefore: lost[index] ?? 0,
          },
          timestamp + 100,
        ),
      );
    return { assembler, units, drops, frame, feed, needed: () => needed };
  }

  it('ends a unit at the marker and times it by its earliest packet', () => {
    const { units, frame, feed } = assemble();
    feed(3000, frame(true));
    expect(units).toHaveLength(1);
    expect(units[0]).toMatchObject({ keyframe: true, mediaTime: 3000, receivedAtUs: 3000, assembledAtUs: 3100 });
  });

  it('ends a unit without a marker when the timestamp changes', () => {
    const { units, frame, feed } = assemble();
    feed(3000, frame(true), {}, false);
    expect(units).toHaveLength(0);
    feed(6000, frame(false), {}, false);
    expect(units.map(({ mediaTime }) => mediaTime)).toEqual([3000]);
  });

  it('drops what cannot be decoded before the first keyframe and asks for one', () => {
    const { units, drops, frame, feed, needed } = assemble();
    feed(3000, frame(false));
    expect([units.length, drops, needed()]).toEqual([0, ['awaiting-keyframe'], 1]);
    feed(6000, frame(true));
    feed(9000, frame(false));
    expect(units).toHaveLength(2);
  });

  it('drops the frame with a hole and all that refer to it, up to the keyframe', () => {
    const { units, drops, frame, feed } = assemble();
    feed(3000, frame(true));
    feed(6000, frame(false), { 1: 1 });
    feed(9000, frame(false));
    feed(12_000, frame(true));
    feed(15_000, frame(false));
    expect(drops).toEqual(['incomplete', 'awaiting-keyframe']);
    expect(units.map(({ mediaTime }) => mediaTime)).toEqual([3000, 12_000, 15_000]);
  });

  it('accepts a whole keyframe right after a loss, but not one that has lost its beginning', () => {
    const whole = assemble();
    whole.feed(3000, whole.frame(true));
    whole.feed(9000, whole.frame(true), { 0: 4 });
    expect(whole.units).toHaveLength(2);
    const cut = assemble();
    cut.feed(3000, cut.frame(true));
    cut.feed(9000, cut.frame(true).slice(1), { 0: 1 });
    expect(cut.units).toHaveLength(1);
    expect(cut.drops).toEqual(['incomplete']);
  });

  it('ignores padding probes in the middle of everything', () => {
    const { units, frame, feed } = assemble();
    feed(3000, frame(true));
    feed(3000, [Buffer.alloc(0)]);
    feed(6000, frame(false));
    expect(units).toHaveLength(2);
  });

  it('needs a keyframe when the codec changes', () => {
    const { assembler, units, drops, frame, feed } = assemble();
    feed(3000, frame(true));
    assembler.add(
      {
        packet: { payload: Buffer.from([0x41, 0x88, 1]), timestamp: 6000, marker: true },
        codec: 'H264',
        mediaTime: 6000,
        receivedAtUs: 0,
        lostBefore: 0,
      },
      0,
    );
    expect(units).toHaveLength(1);
    expect(drops).toEqual(['awaiting-keyframe']);
  });

  it('bounds a unit that never ends', () => {
    const { units, drops, feed } = assemble();
    const endless = Array.from({ length: 4000 }, (_, index) =>
      index === 0 ? (packetizeVp8(Buffer.alloc(1100), 1, 1200)[0] as Buffer) : Buffer.alloc(1200, 0x00),
    );
    feed(3000, endless);
    expect(units).toHaveLength(0);
    expect(drops).toEqual(['oversize']);
  });

  it('bounds the packets of a unit, too, and goes on with the next', () => {
    const { assembler, units, drops, feed, frame } = assemble();
    feed(3000, frame(true));
    const tail = Buffer.of(0x80, 0x80, 0x80, 0x01, 0x55);
    feed(6000, [packetizeVp8(Buffer.alloc(10, 1), 1, 1200)[0] as Buffer, ...(Array(9000).fill(tail) as Buffer[])]);
    expect(drops).toEqual(['oversize']);
    expect(assembler.awaitingKeyframe).toBe(true);
    feed(9000, frame(true));
    expect(units.map(({ mediaTime }) => mediaTime)).toEqual([3000, 9000]);
  });
});

describe('FrameAssembler with colours', () => {
  function assemble(frames: readonly { keyframe: boolean; colourOn: 'none' | 'first packet' | 'last packet' }[]) {
    const units: AccessUnit[] = [];
    const assembler = new FrameAssembler({
      onAccessUnit: (unit) => units.push(unit),
      onDrop: () => undefined,
      onKeyframeNeeded: () => undefined,
    });
    frames.forEach(({ keyframe, colourOn }, index) => {
      const data = Buffer.alloc(3000, 1);
      data[0] = keyframe ? 0x10 : 0x11;
      const payloads = packetizeVp8(data, index, 1200);
      payloads.forEach((payload, at) => {
        const last = at === payloads.length - 1;
        const colour = (colourOn === 'first packet' && at === 0) || (colourOn === 'last packet' && last);
        assembler.add(
          {
            packet: { payload: Buffer.from(payload), marker: last, timestamp: index * 3000 },
            codec: 'VP8',
            mediaTime: index * 3000,
            receivedAtUs: index,
            lostBefore: 0,
            colour: colour ? BT709_FULL : undefined,
          },
          index,
        );
      });
    });
    return units.map(({ colour }) => colour);
  }

  it('puts a colour on the unit that has it on any of its packets, and on no other', () => {
    expect(
      assemble([
        { keyframe: true, colourOn: 'last packet' },
        { keyframe: false, colourOn: 'none' },
        { keyframe: false, colourOn: 'first packet' },
        { keyframe: true, colourOn: 'none' },
      ]),
    ).toEqual([BT709_FULL, undefined, BT709_FULL, undefined]);
  });
});
