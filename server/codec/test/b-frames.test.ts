import { afterEach, describe, expect, it } from 'vitest';
import { makeBFrames, withoutVui, type BFrameOptions, type BFrameUnit } from '../../../testing/b-frames.ts';
import { lumaDifference, makePicture, movingBar } from '../../../testing/pictures.ts';
import { FrameAssembler } from '../../media/assembler.ts';
import { packetizeH264 } from '../../media/h264.ts';
import { RtpClock } from '../../media/rtp-clock.ts';
import type { AccessUnit, DropReason } from '../../media/types.ts';
import { Decoder } from '../decoder.ts';
import type { FramePicture } from '../frame-picture.ts';

type Clock = 'pts' | 'dts';

const FRAME = 3000;
const FRAME_US = 33_333;
const FIRST = 900_000;
const open: Decoder[] = [];
afterEach(() => {
  for (const decoder of open.splice(0)) decoder.close();
});

function newDecoder(): Decoder {
  const decoder = new Decoder({ codec: 'H264', maxPixels: 1920 * 1088 });
  open.push(decoder);
  return decoder;
}

const stream = (options: BFrameOptions) => makeBFrames({ firstPts: FIRST, ...options });

/** Over RTP, a unit each frame interval: packetized, timed by the broadcast's clock, assembled. `lose`: units whose first packet is lost. */
function receive(units: readonly BFrameUnit[], clock: Clock, lose: (unit: BFrameUnit) => boolean = () => false) {
  const arrived: AccessUnit[] = [];
  const drops: Partial<Record<DropReason, number>> = {};
  let keyframesAsked = 0;
  const assembler = new FrameAssembler({
    onAccessUnit: (unit) => arrived.push(unit),
    onDrop: (reason, count) => (drops[reason] = (drops[reason] ?? 0) + count),
    onKeyframeNeeded: () => (keyframesAsked += 1),
  });
  const rtpClock = new RtpClock();
  let lostBefore = 0;
  units.forEach((unit, index) => {
    const timestamp = unit[clock] >>> 0;
    const receivedAtUs = index * FRAME_US;
    const payloads = packetizeH264(unit.data, 1200);
    payloads.forEach((payload, at) => {
      if (lose(unit) && at === 0) return void (lostBefore += 1);
      const marker = at === payloads.length - 1;
      const mediaTime = rtpClock.map('ssrc', timestamp, receivedAtUs, marker);
      const packet = { payload, marker, timestamp };
      assembler.add({ packet, codec: 'H264', mediaTime, receivedAtUs, lostBefore }, receivedAtUs + 1);
      lostBefore = 0;
    });
  });
  return { arrived, drops, keyframesAsked, restamped: rtpClock.restamped };
}

/** @returns the picture's number by what it shows */
function shown(picture: FramePicture, frames: number): number {
  let best = { number: -1, difference: Infinity };
  for (let number = 0; number < frames; number += 1) {
    const original = makePicture(picture.width, picture.height, 0, movingBar(number, picture.width));
    const difference = lumaDifference(picture, original);
    if (difference < best.difference) best = { number, difference };
  }
  return best.number;
}

interface Out {
  readonly number: number;
  readonly mediaTime: number;
  /** Units decoded when it came out. */
  readonly after: number;
  readonly heldUs: number | undefined;
}

function decode(decoder: Decoder, units: readonly AccessUnit[], frames: number): Out[] {
  const out: Out[] = [];
  const take = (pictures: readonly FramePicture[], after: number) => {
    for (const picture of pictures) {
      const { mediaTime, trace } = picture;
      out.push({ number: shown(picture, frames), mediaTime, after, heldUs: trace.heldUs });
      picture.release();
    }
  };
  units.forEach((unit, index) => take(decoder.decode(unit), index + 1));
  take(decoder.flush(), units.length);
  return out;
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

describe.each([
  ['two B-frames', { bFrames: 2, pyramid: false }, 1],
  ['three in a pyramid', { bFrames: 3, pyramid: true }, 2],
] as const)('%s', (_, shape, depth) => {
  it('stamped with presentation times: every picture in order, with its own time, after as many pictures as the SPS says', () => {
    const { arrived, drops, restamped } = receive(stream({ ...shape, frames: 24, keyframeEvery: 12 }), 'pts');
    expect({ drops, restamped }).toEqual({ drops: {}, restamped: 0 });
    const decoder = newDecoder();
    const out = decode(decoder, arrived.slice(0, -1), 24);
    expect(out.slice(0, 21).map(({ number }) => number)).toEqual(upTo(21));
    for (const { number, mediaTime } of out) expect(mediaTime).toBe(FIRST + number * FRAME);
    for (const { number, after } of out.slice(0, 20)) expect(after, `picture ${number}`).toBe(number + 1 + depth);
    expect(decoder.takeLost()).toBe(0);
  });

  it('stamped with decoding times, as OBS does: the same pictures, and the same times', () => {
    const decoder = newDecoder();
    const { arrived } = receive(stream({ ...shape, frames: 24, keyframeEvery: 12 }), 'dts');
    const out = decode(decoder, arrived, 24);
    expect(
      out.map(({ number }) => number),
      'before: every third vanished',
    ).toEqual(upTo(24));
    // The first of them come before the stream has shown which clock it has.
    for (const { number, mediaTime } of out.slice(depth)) expect(mediaTime).toBe(FIRST + number * FRAME);
    const times = out.map(({ mediaTime }) => mediaTime);
    expect(times).toEqual([...new Set(times)].sort((a, b) => a - b));
    expect(decoder.takeLost()).toBe(0);
  });

  it('shows its delay: pictures held, and how long each', () => {
    const decoder = newDecoder();
    const { arrived } = receive(stream({ ...shape, frames: 24 }), 'pts');
    expect(decoder.reordering.frames).toBe(0);
    const held: number[] = [];
    for (const unit of arrived) for (const { trace } of decoder.decode(unit)) held.push(trace.heldUs ?? 0);
    expect(decoder.reordering).toEqual({ frames: depth, clock: 'presentation' });
    const frames = held.slice(1, 1 + 4 * (shape.bFrames + 1)).map((us) => Math.round(us / FRAME_US));
    // Residence of all pictures together is that of the depth: what some wait longer, others wait less.
    expect(frames.reduce((sum, count) => sum + count, 0) / frames.length).toBeCloseTo(depth, 5);
    expect(Math.min(...frames), 'a B-frame goes at once').toBe(0);
  });

  it.each(['pts', 'dts'] as const)(
    'a lost B-frame: a keyframe is asked for, every picture is shown or counted (%s)',
    (clock) => {
      const units = stream({ ...shape, frames: 36, keyframeEvery: 12 });
      const lostAt = units.findIndex(({ disposable, number }) => disposable && number > 12);
      const { arrived, drops, keyframesAsked } = receive(units, clock, (unit) => unit === units[lostAt]);
      expect(keyframesAsked).toBeGreaterThan(0);
      const decoder = newDecoder();
      const out = decode(decoder, arrived, 36);
      const dropped = Object.values(drops).reduce((sum, count) => sum + count, 0);
      expect(dropped).toBeGreaterThan(0);
      // Of the lost picture itself nothing has arrived: its packet counts as lost.
      expect(out.length + dropped + decoder.takeLost()).toBe(35);
      const numbers = out.map(({ number }) => number);
      expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
      expect(numbers.slice(-12)).toEqual(upTo(36).slice(24));
      const late = out.filter(({ number }) => number >= 24);
      for (const { number, mediaTime } of late) expect(mediaTime).toBe(FIRST + number * FRAME);
    },
  );

  it('another size from a keyframe on: no picture is lost, those of before come first', () => {
    const decoder = newDecoder();
    const small = receive(stream({ ...shape, frames: 12 }), 'pts').arrived;
    const large = receive(
      stream({ ...shape, frames: 12, width: 320, height: 192, firstPts: FIRST + 12 * FRAME }),
      'pts',
    ).arrived;
    const sizes: number[] = [];
    const times: number[] = [];
    for (const unit of [...small, ...large])
      for (const { width, mediaTime } of decoder.decode(unit)) {
        sizes.push(width);
        times.push(mediaTime);
      }
    for (const { width, mediaTime } of decoder.flush()) {
      sizes.push(width);
      times.push(mediaTime);
    }
    expect(sizes).toEqual([...Array<number>(12).fill(160), ...Array<number>(12).fill(320)]);
    expect(times).toEqual(upTo(24).map((number) => FIRST + number * FRAME));
    expect(decoder.takeLost()).toBe(0);
  });

  it.each(['pts', 'dts'] as const)(
    'a hole before a keyframe: what was inside leaves with times of before it (%s)',
    (clock) => {
      const decoder = newDecoder();
      const before = receive(stream({ ...shape, frames: 13 }), clock).arrived;
      const after = receive(stream({ ...shape, frames: 13, firstPts: FIRST + 100 * FRAME }), clock).arrived;
      for (const unit of before.slice(0, -1)) decoder.decode(unit);
      decoder.decode(before.at(-1) as AccessUnit);
      const [first] = after;
      const left = decoder.decode(first as AccessUnit).map(({ mediaTime }) => mediaTime);
      expect(left).toEqual(
        upTo(13)
          .slice(-depth)
          .map((number) => FIRST + number * FRAME),
      );
    },
  );

  it('is without delay again when the stream goes on without B-frames', () => {
    const decoder = newDecoder();
    for (const unit of receive(stream({ ...shape, frames: 12 }), 'pts').arrived) decoder.decode(unit);
    expect(decoder.reordering.frames).toBe(depth);
    const plain = receive(stream({ bFrames: 0, frames: 6, firstPts: FIRST + 12 * FRAME }), 'pts').arrived;
    const [first, ...rest] = plain.map((unit) => decoder.decode(unit).map(({ mediaTime }) => mediaTime));
    expect(first?.at(-1)).toBe(FIRST + 12 * FRAME);
    expect(rest).toEqual(upTo(5).map((number) => [FIRST + (13 + number) * FRAME]));
    expect(decoder.reordering.frames).toBe(0);
  });

  it('learns the depth from the stream when the SPS does not give it, and counts pictures that came too late for their place', () => {
    const units = stream({ ...shape, frames: 48, profile: 'main' }).map((unit) => ({
      ...unit,
      data: withoutVui(unit.data),
    }));
    const decoder = newDecoder();
    const out = decode(decoder, receive(units, 'pts').arrived, 48);
    const lost = decoder.takeLost();
    expect(lost).toBeLessThanOrEqual(4);
    expect(out.length + lost).toBe(48);
    const numbers = out.map(({ number }) => number);
    expect(numbers).toEqual([...numbers].sort((a, b) => a - b));
    expect(numbers.slice(-40)).toEqual(upTo(48).slice(8));
    for (const { number, mediaTime } of out) expect(mediaTime).toBe(FIRST + number * FRAME);
  });
});

describe('streams without B-frames', () => {
  it.each(['main', 'high'] as const)(
    '%s profile: every picture in the call of its unit, with its time; nothing is held',
    (profile) => {
      const decoder = newDecoder();
      const { arrived } = receive(stream({ bFrames: 0, frames: 12, profile }), 'pts');
      const out = decode(decoder, arrived, 12);
      expect(out).toEqual(
        upTo(12).map((number) => ({ number, mediaTime: FIRST + number * FRAME, after: number + 1, heldUs: undefined })),
      );
      expect(decoder.reordering).toEqual({ frames: 0, clock: 'presentation' });
      expect(decoder.takeLost()).toBe(0);
    },
  );
});

it('a damaged unit: the pictures that were inside are counted', () => {
  const decoder = newDecoder();
  const { arrived } = receive(stream({ bFrames: 3, pyramid: true, frames: 12 }), 'pts');
  for (const unit of arrived.slice(0, 8)) decoder.decode(unit).forEach((picture) => picture.release());
  const data = Uint8Array.from([0, 0, 0, 1, 0x06, 0x05, 0x01, 0x00, 0x80]); // SEI and no picture
  expect(() => decoder.decode({ ...(arrived[8] as AccessUnit), data })).toThrow(/H264/);
  expect(decoder.takeLost()).toBe(2);
  expect(decoder.awaitingKeyframe).toBe(true);
});
