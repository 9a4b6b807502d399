import { describe, expect, it } from 'vitest';
import { AutoSend } from '../assets/auto-send.js';
import { chooseSend, videoBitrateBps } from '../assets/choose-send.js';
import { RtpRates } from '../assets/rtp-rates.js';
import { SendBackRule } from '../assets/send-back.js';
import { PageStore } from '../assets/settings.js';
import { memoryStorage } from './memory-storage.ts';

const UPLINK = {
  bitrateBps: 300_000,
  audioBps: 0,
  lossRatio: 0,
  availableBps: 1_500_000,
  width: 320,
  height: 180,
  fps: 30,
  sourceFps: 30,
  codec: 'VP8',
  limitation: 'none',
  roundTripMs: 20,
};
const CAMERA = {
  upscalers: { 180: 'nano', 360: 'nano-x2' },
  content: 'camera',
  maxBitrateBps: 1_500_000,
  sourceShortSide: 720,
} as const;

/** Short sides sent, a second at a time. */
function sizes(auto: AutoSend, fromS: number, toS: number, uplink: object, circumstances: object = CAMERA): number[] {
  const seconds = Array.from({ length: toS - fromS }, (_, index) => fromS + index);
  return seconds.map(
    (second) => auto.update(second * 1000, { ...UPLINK, ...uplink }, { ...CAMERA, ...circumstances })?.shortSide ?? 0,
  );
}

describe('sending by the line', () => {
  it('begins with 300 kbit/s, believes the estimate when it is measured, falls soon and rises late', () => {
    const auto = new AutoSend(['VP8'], undefined);
    const first = auto.begin(0, CAMERA).shortSide;
    expect(sizes(auto, 1, 30, {}).every((size) => size >= first)).toBe(true);
    const thin = sizes(auto, 30, 36, { availableBps: 60_000 });
    expect(thin.at(-1)).toBe(180);
    const wide = sizes(auto, 36, 50, {});
    expect(wide.slice(0, 6).every((size) => size === 180)).toBe(true);
    expect(wide.at(-1)).toBeGreaterThanOrEqual(360);
  });

  it('is not moved by the first estimate of a connection', () => {
    const auto = new AutoSend(['VP8'], 1_200_000);
    const first = auto.begin(0, CAMERA);
    expect(auto.update(1000, { ...UPLINK, availableBps: 100_000 }, CAMERA)).toBe(first);
    expect(sizes(auto, 2, 6, { availableBps: 100_000 }).at(-1)).toBeLessThan(first.shortSide);
  });

  it('leaves room for the headers, which are a quarter of a thin line', () => {
    const line = 60_000;
    const chosen = new AutoSend(['AV1'], line).begin(0, CAMERA);
    const request = { ...CAMERA, codecs: ['AV1'] } as const;
    expect(chosen).toEqual(chooseSend({ ...request, bitrateBps: videoBitrateBps(line) }));
    // With 7 % for them the size was one that does not fit.
    expect(chooseSend({ ...request, bitrateBps: line * 0.93 }).shortSide).toBeGreaterThan(chosen.shortSide);
  });

  it('takes loss for a line that is too full, and sound out of the budget', () => {
    for (const uplink of [
      { availableBps: 1_500_000, bitrateBps: 55_000, lossRatio: 0.4 },
      { availableBps: 80_000, audioBps: 45_000 },
    ]) {
      const auto = new AutoSend(['VP8'], undefined);
      auto.begin(0, CAMERA);
      expect(sizes(auto, 1, 12, uplink).at(-1)).toBe(180);
    }
  });

  it('keeps to the person’s limit, and begins where the line was last time', () => {
    const limited = { ...CAMERA, maxBitrateBps: 60_000 };
    expect(new AutoSend(['VP8'], 1_200_000).begin(0, limited).shortSide).toBe(180);
    const wide = new AutoSend(['VP8'], 1_200_000).begin(0, CAMERA).shortSide;
    expect(wide).toBeGreaterThan(new AutoSend(['VP8'], 60_000).begin(0, CAMERA).shortSide);
    const sample = { ...CAMERA, sourceShortSide: 180 };
    expect(new AutoSend(['VP8'], 1_200_000).begin(0, sample).shortSide).toBe(180);
  });

  it('sends a smaller size while the encoder leaves pictures out, tries again later, and at once over a wider line', () => {
    const auto = new AutoSend(['VP8'], 200_000);
    expect(auto.begin(0, CAMERA).shortSide).toBe(360);
    const fast = { availableBps: 200_000, fps: 9 };
    expect(sizes(auto, 1, 7, fast).at(-1)).toBe(360);
    expect(sizes(auto, 7, 12, fast).at(-1)).toBe(180);
    const still = { availableBps: 200_000 };
    expect(sizes(auto, 12, 65, still).every((size) => size === 180)).toBe(true);
    expect(sizes(auto, 65, 75, still).at(-1)).toBe(360);
    // It moves again: twice as long now.
    expect(sizes(auto, 75, 82, fast).at(-1)).toBe(180);
    expect(sizes(auto, 82, 195, still).every((size) => size === 180)).toBe(true);
    expect(sizes(auto, 195, 215, still).at(-1)).toBe(360);
    expect(sizes(auto, 215, 222, fast).at(-1)).toBe(180);
    expect(sizes(auto, 222, 232, { availableBps: 500_000 }).at(-1)).toBeGreaterThanOrEqual(360);
  });

  it('does not take few pictures of the source, of a slow machine or of a screen for pictures left out', () => {
    for (const [uplink, circumstances] of [
      [{ fps: 8, sourceFps: 8 }, {}],
      [{ fps: 14, sourceFps: 15 }, {}],
      [{ fps: 9, sourceFps: undefined }, {}],
      [{ fps: 9, limitation: 'cpu' }, {}],
      [{ fps: 2 }, { content: 'screen' }],
    ] as const) {
      const auto = new AutoSend(['VP8'], 200_000);
      const first = auto.begin(0, { ...CAMERA, ...circumstances }).shortSide;
      expect(sizes(auto, 1, 40, { availableBps: 200_000, ...uplink }, circumstances).at(-1)).toBe(first);
    }
  });

  it('leaves a codec that is too slow here, and no other within the first minute', () => {
    const auto = new AutoSend(['VP8', 'AV1'], 60_000);
    expect(auto.begin(0, CAMERA).codec).toBe('AV1');
    sizes(auto, 1, 6, { availableBps: 60_000, limitation: 'cpu' });
    expect(auto.choice?.codec).toBe('AV1');
    sizes(auto, 6, 10, { availableBps: 60_000, limitation: 'cpu' });
    expect(auto.choice?.codec).toBe('VP8');
  });
});

describe('the own result', () => {
  const rule = (options: object, seconds: number, lineBps: number | undefined, of = new SendBackRule()): boolean => {
    let back = false;
    for (let second = 0; second <= seconds; second += 1) {
      const now = { kind: 'camera', choice: undefined, maxBitrateBps: 1_500_000, lineBps, ...options } as const;
      back = of.update(second * 1000, now);
    }
    return back;
  };

  it('comes back on wide lines, of the sample, and when it is wanted; otherwise not', () => {
    expect(rule({}, 10, undefined)).toBe(false);
    expect(rule({}, 3, 1_200_000)).toBe(false);
    expect(rule({}, 4, 1_200_000)).toBe(true);
    expect(rule({}, 10, 900_000)).toBe(false);
    expect(rule({ maxBitrateBps: 800_000 }, 10, 5_000_000)).toBe(false);
    expect(rule({ kind: 'sample', maxBitrateBps: 60_000 }, 0, undefined)).toBe(true);
    expect(rule({ choice: true, maxBitrateBps: 60_000 }, 0, 60_000)).toBe(true);
    expect(rule({ choice: false, kind: 'sample' }, 10, 5_000_000)).toBe(false);
  });

  it('stays through small falls of the line, and is forgotten with the broadcast', () => {
    const of = new SendBackRule();
    expect(rule({}, 5, 1_200_000, of)).toBe(true);
    expect(of.update(6000, { kind: 'camera', choice: undefined, maxBitrateBps: 1_500_000, lineBps: 800_000 })).toBe(
      true,
    );
    of.reset();
    expect(rule({}, 3, 1_200_000, of)).toBe(false);
  });
});

it('reads the line, the share of sound and the loss out of the browser’s statistics', () => {
  const rates = new RtpRates();
  const report = (atMs: number, bytes: number): object[] => [
    { id: 'a', type: 'outbound-rtp', kind: 'audio', timestamp: atMs, bytesSent: bytes, packetsSent: bytes / 20 },
    { id: 'v', type: 'outbound-rtp', kind: 'video', timestamp: atMs, bytesSent: 4 * bytes, headerBytesSent: 0 },
    { id: 'r', type: 'remote-inbound-rtp', kind: 'video', fractionLost: 0.25 },
    // The path of before, which the connection has left.
    { id: 'o', type: 'candidate-pair', nominated: true, state: 'succeeded' },
    { id: 'p', type: 'candidate-pair', nominated: true, state: 'succeeded', availableOutgoingBitrate: 123_000 },
    { id: 't', type: 'transport', selectedCandidatePairId: 'p' },
  ];
  rates.uplink(report(0, 0));
  const second = rates.uplink(report(1000, 1000));
  expect(second).toMatchObject({ bitrateBps: 40_000, lossRatio: 0.25, availableBps: 123_000 });
  // 50 packets, each with 38 bytes that are in no statistics.
  expect(second.audioBps).toBe(8_000 + 15_200);
});

it('keeps the line for the next visit', () => {
  const browser = memoryStorage();
  const store = new PageStore({ tab: memoryStorage(), browser });
  expect(store.lineBps).toBeUndefined();
  store.keepLine(123_456.7);
  expect(new PageStore({ tab: memoryStorage(), browser }).lineBps).toBe(123_457);
});
