import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { monotonicUs } from '../../server/media/clock.ts';
import { packetize } from '../../server/media/packetizer.ts';
import { quantile } from '../../server/media/quantile.ts';
import { traceAt } from '../../server/media/steps.ts';
import type { EncodedFrame } from '../../server/media/types.ts';
import type { RtcStack, ViewerPeer } from '../../server/rtc/peers.ts';
import type { FromChild, ToChild } from './fanout-receivers.ts';

export interface FanoutOptions {
  readonly stack: RtcStack;
  readonly viewers: number;
  readonly bitrateBps: number;
  readonly seconds: number;
  readonly framesPerSecond?: number;
  /** Every so many frames a keyframe of keyframeRatio times the mean size; 0: none. */
  readonly keyframeEveryFrames?: number;
  readonly keyframeRatio?: number;
}

export interface FanoutResult {
  readonly viewers: number;
  readonly connected: number;
  readonly joinMs: { readonly p50: number; readonly p95: number };
  readonly packetsPerSecond: number;
  /** CPU time of this process while sending, share of one core and per packet (receivers run in another process). */
  readonly cpuShare: number;
  readonly cpuUsPerPacket: number;
  /** Wall time of handing one frame to all viewers. */
  readonly sendMs: { readonly p50: number; readonly p95: number; readonly max: number };
  readonly framesExpected: number;
  /** Complete frames whose last packet arrived within 33 ms of the earliest possible. */
  readonly framesOnTime: number;
  readonly framesLate: number;
  readonly framesIncomplete: number;
}

const LATE_MS = 33;

/** Sends a synthetic H264 stream to many real viewers and measures what that costs and how many frames come late. */
export async function measureFanout(options: FanoutOptions): Promise<FanoutResult> {
  const { stack, viewers, bitrateBps, seconds, framesPerSecond = 30 } = options;
  const child = fork(new URL('./fanout-receivers.ts', import.meta.url), {
    execArgv: process.execArgv.length > 0 ? process.execArgv : ['--import', 'tsx'],
  });
  const post = (message: ToChild) => child.send(message);
  const peers = new Map<number, ViewerPeer>();
  const joinMs: number[] = [];
  let report: Extract<FromChild, { kind: 'report' }> | undefined;
  let onReport: () => void = () => undefined;
  let settled = 0;
  child.on('message', (message: FromChild) => {
    if (message.kind === 'offer') {
      const peer = stack.createViewer(
        { onState: () => undefined, onKeyframeRequest: () => undefined },
        { width: 1280, height: 720 },
      );
      peers.set(message.viewer, peer);
      void peer.accept(message.sdp).then((sdp) => post({ kind: 'answer', viewer: message.viewer, sdp }));
    } else if (message.kind === 'connected') {
      joinMs.push(message.joinMs);
      settled += 1;
    } else if (message.kind === 'failed') {
      settled += 1;
    } else {
      report = message;
      onReport();
    }
  });
  try {
    for (let viewer = 0; viewer < viewers; viewer += 1) {
      post({ kind: 'join', viewer });
      await sleep(60);
    }
    for (let waited = 0; settled < viewers && waited < 20_000; waited += 50) await sleep(50);

    const { frames, packets, cpuUs, wallUs, sendMs } = await sendFrames([...peers.values()], options);
    await sleep(500);
    const reported = new Promise<void>((resolve) => (onReport = resolve));
    post({ kind: 'report' });
    await reported;
    const timing = judge(report?.frames ?? [], frames, seconds * framesPerSecond);
    return {
      viewers,
      connected: joinMs.length,
      joinMs: { p50: quantile(joinMs, 0.5), p95: quantile(joinMs, 0.95) },
      packetsPerSecond: (packets / wallUs) * 1e6,
      cpuShare: cpuUs / wallUs,
      cpuUsPerPacket: cpuUs / Math.max(1, packets),
      sendMs: { p50: quantile(sendMs, 0.5), p95: quantile(sendMs, 0.95), max: Math.max(...sendMs) },
      ...timing,
    };
  } finally {
    post({ kind: 'stop' });
    await Promise.all([...peers.values()].map((peer) => peer.close()));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => child.kill(), 5000);
      child.once('exit', () => {
        clearTimeout(timer);
        resolve();
      });
    });
  }

  async function sendFrames(targets: readonly ViewerPeer[], of: FanoutOptions) {
    const { keyframeEveryFrames = 0, keyframeRatio = 8 } = of;
    const meanBytes = Math.round(bitrateBps / 8 / framesPerSecond);
    const sent: { mediaTime: number; payloads: number; sentAtMs: number }[] = [];
    const durations: number[] = [];
    let total = 0;
    const cpu = process.cpuUsage();
    const startUs = monotonicUs();
    for (let number = 0; number < seconds * framesPerSecond; number += 1) {
      const dueUs = startUs + (number * 1e6) / framesPerSecond;
      const waitMs = (dueUs - monotonicUs()) / 1000;
      if (waitMs > 0.5) await sleep(waitMs);
      const keyframe = number === 0 || (keyframeEveryFrames > 0 && number % keyframeEveryFrames === 0);
      const bytes = keyframe && keyframeEveryFrames > 0 ? meanBytes * keyframeRatio : meanBytes;
      const mediaTime = Math.round((number * 90_000) / framesPerSecond);
      const packetized = packetize(syntheticFrame(bytes, keyframe, mediaTime));
      const at = performance.now();
      for (const target of targets) target.sendResult(packetized);
      durations.push(performance.now() - at);
      total += packetized.payloads.length * targets.length;
      sent.push({ mediaTime, payloads: packetized.payloads.length, sentAtMs: performance.timeOrigin + at });
    }
    const used = process.cpuUsage(cpu);
    return {
      frames: sent,
      packets: total,
      cpuUs: used.user + used.system,
      wallUs: monotonicUs() - startUs,
      sendMs: durations,
    };
  }
}

/** The schedule is the sending times; each viewer's timestamps differ by a constant, found from its first frame. */
function judge(
  reports: readonly { arrivals: readonly [number, number, number][] }[],
  sent: readonly { mediaTime: number; payloads: number; sentAtMs: number }[],
  framesEach: number,
) {
  let onTime = 0;
  let late = 0;
  let incomplete = 0;
  for (const { arrivals } of reports) {
    const byTime = new Map(arrivals.map(([timestamp, endMs, packets]) => [timestamp, { endMs, packets }]));
    const first = arrivals[0]?.[0];
    if (first === undefined) {
      incomplete += framesEach;
      continue;
    }
    for (const frame of sent) {
      const arrival = byTime.get((first + frame.mediaTime) % 2 ** 32);
      if (arrival === undefined || arrival.packets < frame.payloads || arrival.endMs === 0) incomplete += 1;
      else if (arrival.endMs - frame.sentAtMs > LATE_MS) late += 1;
      else onTime += 1;
    }
  }
  return {
    framesExpected: sent.length * reports.length,
    framesOnTime: onTime,
    framesLate: late,
    framesIncomplete: incomplete,
  };
}

function syntheticFrame(bytes: number, keyframe: boolean, mediaTime: number): EncodedFrame {
  // Random bytes without zeros: nothing in it looks like a start code.
  const body = randomBytes(bytes).map((byte) => byte | 1);
  const data = Buffer.concat([Buffer.from([0, 0, 0, 1, keyframe ? 0x65 : 0x41]), body]);
  const at = monotonicUs();
  const trace = traceAt(at);
  return { codec: 'H264', rendition: 'full', data, mediaTime, keyframe, width: 1280, height: 720, trace };
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
