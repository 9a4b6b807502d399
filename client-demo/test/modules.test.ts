import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { backoffMs } from '../assets/backoff.js';
import { captureError, fromServer } from '../assets/errors.js';
import {
  formatBitrate,
  formatDuration,
  formatFps,
  formatModel,
  formatMs,
  isSuperResolution,
  realDrops,
  rungNote,
} from '../assets/format.js';
import { loudness } from '../assets/level-meter.js';
import { isLocalAddress } from '../assets/local-address.js';
import { RtpRates } from '../assets/rtp-rates.js';
import { PageStore, scaleDownFactor, suggestName } from '../assets/settings.js';
import { findOffset, lagsMs, median, rtpDifference } from '../assets/track-offset.js';
import { TrackSync } from '../assets/track-sync.js';
import { NAME_PATTERN, isBroadcastName, nameOfPath, namePath } from '../assets/broadcast-name.js';
import { broadcastName } from '../../server/broadcast/name.ts';
import { memoryStorage } from './memory-storage.ts';

describe('backoffMs', () => {
  it('doubles from half a second and never exceeds twenty', () => {
    expect([1, 2, 3, 4].map((attempt) => backoffMs(attempt, 0))).toEqual([500, 1000, 2000, 4000]);
    expect(backoffMs(50, 0)).toBe(15_000);
    expect(backoffMs(50, 1)).toBe(20_000);
  });
});

describe('format', () => {
  it('says once how much larger a model makes pictures', () => {
    expect(formatModel('nano x4', 4)).toBe('nano ×4');
    expect(formatModel('Lanczos resize', 4)).toBe('Lanczos resize ×4');
    expect(formatModel('my x2', 4)).toBe('my x2 ×4');
  });
  it('writes numbers as people read them', () => {
    expect([0, 284_400, 999_499, 1_250_000, 12_340_000].map(formatBitrate)).toEqual([
      '0 kbit/s',
      '284 kbit/s',
      '999 kbit/s',
      '1.25 Mbit/s',
      '12.3 Mbit/s',
    ]);
    expect([0, 7.46, 29.7].map(formatFps)).toEqual(['– fps', '7.5 fps', '30 fps']);
    expect([null, undefined, Number.NaN, 4.21, 41.9].map(formatMs)).toEqual(['–', '–', '–', '4.2 ms', '42 ms']);
    expect([0, 61_000, 3_725_000].map(formatDuration)).toEqual(['00:00', '01:01', '1:02:05']);
  });
  it('counts as dropped what viewers missed, most first', () => {
    expect(realDrops({ 'no-viewer': 900, stale: 2, incomplete: 5, 'decode-error': 0 })).toEqual([
      ['incomplete', 5],
      ['stale', 2],
    ]);
  });
});

describe('rungNote', () => {
  it('says why the result is not the best the model can make, and nothing when it is', () => {
    const model = {
      label: 'nano x4',
      superResolution: true,
      rung: 0,
      rungLabel: 'nano x4',
      rungCause: 'load' as const,
    };
    expect(rungNote(model)).toBeUndefined();
    expect(rungNote({ ...model, rung: 1, rungLabel: 'mini x4' })).toBe(
      'The server is busy: a lighter model for now (mini x4).',
    );
    expect(rungNote({ ...model, rung: 3, rungLabel: 'bicubic resize' })).toBe(
      'The server is busy: plain scaling for now, no super-resolution.',
    );
    expect(rungNote({ ...model, rung: 2, rungLabel: 'nano x2', rungCause: 'size' })).toBe(
      'This picture is too large for nano x4 on this server: a lighter model (nano x2).',
    );
    expect(rungNote({ ...model, rung: 2, rungLabel: 'bicubic resize', rungCause: 'content' })).toMatch(/^Text/);
    const [small, full] = [
      { width: 320, height: 180 },
      { width: 1280, height: 720 },
    ];
    const resize = { ...model, rung: 3, rungLabel: 'bicubic resize' };
    expect(rungNote(resize, small, full)).toMatch(/^The server is busy/);
    expect(rungNote(resize, full, full)).toBe(
      'The picture arrives at 1280×720: viewers get that size, without super-resolution.',
    );
    expect(rungNote({ ...model, rung: 1, rungLabel: 'mini x4' }, full, full)).toMatch(/^The server is busy/);
  });
});

describe('isSuperResolution', () => {
  it('calls a resize a resize, also when an overloaded server fell back to one', () => {
    const model = { superResolution: true, rungLabel: 'sparse ratio 1.5' };
    expect(isSuperResolution(model)).toBe(true);
    expect(isSuperResolution({ ...model, rungLabel: 'bicubic resize' })).toBe(false);
    expect(isSuperResolution({ superResolution: false, rungLabel: 'Lanczos resize' })).toBe(false);
  });
});

describe('settings', () => {
  it('suggests names that the server accepts', () => {
    for (let round = 0; round < 200; round += 1) expect(broadcastName.safeParse(suggestName()).success).toBe(true);
  });
  it('know the same names as the server', () => {
    const good = ['a', 'stage-1.a', 'room/anna', 'x'.repeat(64), `${'r'.repeat(64)}/${'p'.repeat(64)}`];
    const bad = ['', 'two words', '.a', '..', 'room/..', '/a', 'a/', 'a/b/c', 'x'.repeat(65), `a/${'x'.repeat(65)}`];
    for (const name of [...good, ...bad]) {
      expect([name, isBroadcastName(name)]).toEqual([name, broadcastName.safeParse(name).success]);
    }
    expect(good.every((name) => isBroadcastName(name))).toBe(true);
    const input = /id="name"[^>]*?pattern="([^"]+)"/s.exec(
      readFileSync(new URL('../index.html', import.meta.url), 'utf8'),
    );
    expect(input?.[1]).toBe(NAME_PATTERN);
    expect(good.map((name) => nameOfPath(`/watch/${namePath(name)}`))).toEqual(good);
    expect(nameOfPath('/watch/%E0%A4')).toBe('%E0%A4');
  });
  it('scales to the chosen height exactly, never up', () => {
    expect(1080 / scaleDownFactor(1080, 180)).toBe(180);
    expect(Math.round(480 / scaleDownFactor(480, 270))).toBe(270);
    expect(scaleDownFactor(144, 180)).toBe(1);
    expect(scaleDownFactor(0, 180)).toBe(1);
  });
  it('keeps settings and tokens for the tab, and works when storage is forbidden or broken', () => {
    const map = new Map<string, string>();
    const storage = memoryStorage(map);
    const store = new PageStore({ tab: storage, browser: storage });
    store.save({ ...store.load(), name: 'stage', height: 270 });
    store.keepResumeToken('stage', 'secret');
    const reloaded = new PageStore({ tab: storage, browser: storage });
    expect(reloaded.load()).toMatchObject({ name: 'stage', height: 270 });
    expect([reloaded.resumeToken('stage'), reloaded.resumeToken('other')]).toEqual(['secret', undefined]);
    reloaded.forgetResumeToken('stage');
    expect(reloaded.resumeToken('stage')).toBeUndefined();
    map.set([...map.keys()][0] ?? '', '{broken');
    expect(new PageStore({ tab: storage, browser: storage }).load().height).toBe(180);
    const full = { ...storage, setItem: () => expect.fail('full') } as unknown as Storage;
    expect(() => new PageStore({ tab: full, browser: full }).keepResumeToken('a', 'b')).not.toThrow();
    expect(new PageStore({ tab: undefined, browser: undefined }).load()).toMatchObject({
      auto: true,
      maxBitrateBps: 1_500_000,
    });
  });

  it('keeps the channel for the next tab, and a substitute for its own tab', () => {
    const browser = memoryStorage();
    const [first, second] = [memoryStorage(), memoryStorage()];
    const channel = new PageStore({ tab: first, browser });
    channel.save({ ...channel.load(), name: 'channel' });
    channel.keepResumeToken('channel', 'proof');
    const other = new PageStore({ tab: second, browser });
    expect(other.load().name).toBe('channel');
    expect(other.resumeToken('channel')).toBe('proof');
    other.save({ ...other.load(), name: 'substitute', height: 360 }, { keepName: false });
    expect(new PageStore({ tab: second, browser }).load().name).toBe('substitute');
    expect(new PageStore({ tab: memoryStorage(), browser }).load()).toMatchObject({ name: 'channel', height: 360 });
  });

  it('shares no token where tabs cannot learn of each other', () => {
    const browser = memoryStorage();
    new PageStore({ tab: memoryStorage(), browser, sharedTokens: false }).keepResumeToken('channel', 'proof');
    expect(
      new PageStore({ tab: memoryStorage(), browser, sharedTokens: false }).resumeToken('channel'),
    ).toBeUndefined();
  });
});

describe('RtpRates', () => {
  const uplinkReport = (timestamp: number, bytes: number) => [
    {
      id: 'v',
      type: 'outbound-rtp',
      kind: 'video',
      timestamp,
      bytesSent: bytes,
      headerBytesSent: bytes / 10,
      codecId: 'c',
    },
    { id: 'a', type: 'outbound-rtp', kind: 'audio', timestamp, bytesSent: bytes / 10, headerBytesSent: 0 },
    { id: 'c', type: 'codec', mimeType: 'video/VP8' },
    { id: 'p', type: 'candidate-pair', nominated: true, state: 'succeeded', currentRoundTripTime: 0.025 },
  ];

  it('measures the uplink over the time since the last reading, headers and sound included', () => {
    const rates = new RtpRates();
    expect(rates.uplink(uplinkReport(1000, 0)).bitrateBps).toBe(0);
    const reading = rates.uplink(uplinkReport(3000, 50_000));
    expect(reading.bitrateBps).toBeCloseTo((60_000 * 8) / 2);
    expect(reading).toMatchObject({ codec: 'VP8', roundTripMs: 25, limitation: 'none' });
    // The same report again (nothing new yet) is no division by zero, a new connection no negative rate.
    expect(rates.uplink(uplinkReport(3000, 50_000)).bitrateBps).toBe(0);
    expect(rates.uplink(uplinkReport(4000, 10)).bitrateBps).toBe(0);
  });

  it('reads the result apart from the source, and the buffer of the last interval only', () => {
    const rates = new RtpRates();
    const report = (timestamp: number, emitted: number, delay: number) => [
      {
        id: 's',
        type: 'inbound-rtp',
        kind: 'video',
        trackIdentifier: 'source',
        timestamp,
        bytesReceived: 0,
        frameWidth: 320,
      },
      {
        id: 'r',
        type: 'inbound-rtp',
        kind: 'video',
        trackIdentifier: 'result',
        timestamp,
        bytesReceived: timestamp * 100,
        frameWidth: 1280,
        frameHeight: 720,
        jitterBufferEmittedCount: emitted,
        jitterBufferDelay: delay,
        packetsLost: -1,
      },
    ];
    rates.downlink(report(1000, 30, 30), 'result');
    const reading = rates.downlink(report(2000, 60, 30.9), 'result');
    expect(reading).toMatchObject({ width: 1280, height: 720, bitrateBps: 800_000, packetsLost: 0 });
    expect(reading.bufferMs).toBeCloseTo(30);
  });
});

describe('finding the same picture in two tracks', () => {
  /** `intervals` in ticks of 90 kHz; both offsets near the wrap of 32 bits. */
  const tracks = (intervals: number[], lagMs: number) => {
    let media = 4_294_900_000;
    const sent = intervals.map((interval) => (media += interval));
    const source = sent.map((rtp) => ({ rtp: rtp % 2 ** 32, shownMs: rtp / 90 }));
    const result = sent.slice(20).map((rtp) => ({ rtp: (rtp + 123_456_789) % 2 ** 32, shownMs: rtp / 90 + lagMs }));
    return { source, result };
  };
  const uneven = Array.from({ length: 60 }, (_, index) => 3000 + ((index * 7919) % 11) * 90);

  it('finds the constant between them from uneven pace alone, over the wrap', () => {
    const { source, result } = tracks(uneven, 400);
    const offset = findOffset(source, result, 0);
    expect(offset).toBe(123_456_789);
    expect(median(lagsMs(source, result, offset ?? 0))).toBeCloseTo(400);
  });

  it('takes what the server says to decide when the pace is even', () => {
    const { source, result } = tracks(Array<number>(60).fill(3000), 100);
    expect(findOffset(source, result, 95)).toBe(123_456_789);
  });

  it('claims nothing when pictures do not match or there are too few', () => {
    const { source, result } = tracks(uneven, 50);
    const other = result.map(({ shownMs }, index) => ({ rtp: index * index * 77_777, shownMs }));
    expect(findOffset(source, other, 0)).toBeUndefined();
    expect(findOffset(source.slice(0, 3), result.slice(0, 3), 0)).toBeUndefined();
    expect(findOffset([], [], 0)).toBeUndefined();
    expect(median([])).toBeUndefined();
  });

  it('subtracts timestamps over the wrap', () => {
    expect(rtpDifference(5, 2 ** 32 - 5)).toBe(10);
  });
});

describe('TrackSync', () => {
  type FrameCallback = (now: number, metadata: { rtpTimestamp: number; expectedDisplayTime: number }) => void;

  /** A video element as far as TrackSync knows it. */
  function fakeVideo() {
    let callback: FrameCallback | undefined;
    const element = { requestVideoFrameCallback: (next: FrameCallback) => (callback = next) };
    const show = (rtpTimestamp: number, expectedDisplayTime: number) =>
      callback?.(expectedDisplayTime, { rtpTimestamp: rtpTimestamp % 2 ** 32, expectedDisplayTime });
    return { element: element as unknown as HTMLVideoElement, show };
  }

  beforeEach(() => {
    vi.useFakeTimers();
    vi.stubGlobal(
      'HTMLVideoElement',
      class {
        requestVideoFrameCallback(): void {}
      },
    );
  });
  afterEach(() => {
    vi.useRealTimers();
    vi.unstubAllGlobals();
  });

  /** 30 fps of perfectly even pace, the result `lagMs` behind. */
  function play(resultOffset: number, lagMs: number, serverMs: number, seconds: number) {
    const source = fakeVideo();
    const result = fakeVideo();
    const receiver = { jitterBufferTarget: null as number | null };
    const sync = new TrackSync(source.element, result.element, receiver as unknown as RTCRtpReceiver);
    sync.setServerLatency(serverMs);
    for (let frame = 0; frame < 30 * seconds; frame += 1) {
      const rtp = 4_294_950_000 + frame * 3000;
      source.show(rtp, (frame * 1000) / 30);
      const delayed = frame - Math.round((lagMs * 30) / 1000);
      if (delayed >= 0) result.show(rtp - (frame - delayed) * 3000 + resultOffset, (frame * 1000) / 30);
      if (frame % 30 === 29) vi.advanceTimersByTime(1000);
    }
    sync.close();
    return { lagMs: sync.lagMs, targetMs: receiver.jitterBufferTarget };
  }

  it('knows the same picture by equal timestamps: even pace and a wrong guess of the delay do not mislead it', () => {
    const { lagMs, targetMs } = play(0, 400, 0, 1);
    expect(lagMs).toBeCloseTo(400);
    expect(targetMs).toBeCloseTo(400 * 0.6);
  });

  it('looks for the offset when the timestamps never agree', () => {
    expect(play(1_234_567, 200, 200, 4).lagMs, 'nothing matches at first').toBeUndefined();
    expect(play(1_234_567, 200, 200, 7).lagMs).toBeCloseTo(200);
  });
});

describe('fromServer', () => {
  it('says "full" in plain words, without the operator’s settings', () => {
    const error = fromServer({
      code: 'engine.full',
      message: 'No stream left (limits.x).',
      remedy: 'Raise it.',
      retryable: true,
    });
    expect(error.message).toBe('The server is full right now.');
    expect(error.remedy).toBe('Try again when a broadcast has ended.');
    expect(error.retryable).toBe(true);
  });
});

describe('loudness', () => {
  const tone = (amplitude: number) => Float32Array.from({ length: 1024 }, (_, i) => amplitude * Math.sin(i));
  it('maps a quiet room to 0 and full scale to 1', () => {
    expect(loudness(new Float32Array(1024))).toBe(0);
    expect(loudness(tone(0.0005))).toBe(0);
    expect(loudness(tone(1))).toBeGreaterThan(0.9);
    expect(loudness(tone(0.1))).toBeCloseTo(1 - 23 / 60, 1);
  });
});

describe('isLocalAddress', () => {
  it('knows the names that only the own computer can open', () => {
    expect(['localhost', 'stage.localhost', '127.0.0.1', '127.8.8.8', '[::1]'].every(isLocalAddress)).toBe(true);
    expect(['127.example.org', '192.168.1.7', 'localhost.example.org'].some(isLocalAddress)).toBe(false);
  });
});

describe('captureError', () => {
  it.each([
    ['NotAllowedError', 'Camera access was refused.'],
    ['NotFoundError', 'No camera was found.'],
    ['NotReadableError', 'The camera is busy.'],
  ])('explains %s', (name, message) => {
    const error = captureError(new DOMException('x', name), 'camera');
    expect(error.message).toBe(message);
    expect(error.remedy.length).toBeGreaterThan(20);
  });
  it('passes on what it does not know', () => {
    expect(captureError(new TypeError('odd'), 'screen').message).toContain('odd');
  });
});
