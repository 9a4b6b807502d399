import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { encodeClip, type Clip } from '../../../testing/clip.ts';
import { NodePublisher, type NodePublisherOptions } from '../../../testing/peers/node-publisher.ts';
import { NodeViewer, type NodeViewerOptions } from '../../../testing/peers/node-viewer.ts';
import type { AppError } from '../../errors.ts';
import { monotonicUs } from '../../media/clock.ts';
import { RtpClock } from '../../media/rtp-clock.ts';
import { packetize } from '../../media/packetizer.ts';
import { traceAt } from '../../media/steps.ts';
import type { AccessUnit, EncodedFrame, Rendition } from '../../media/types.ts';
import type { PublisherListener, PublisherPeer, ViewerPeer } from '../peers.ts';
import { testRtcOptions } from '../../../testing/rtc-options.ts';
import { PeerStack } from '../peer-stack.ts';
import { CHROMIUM_PUBLISH, CHROMIUM_WATCH } from '../../../testing/offers.ts';
import { until } from '../../../testing/until.ts';

/** Publisher and viewer peers against werift's own peer connection, over real sockets on 127.0.0.1. */

const OPTIONS = testRtcOptions({ jitterMs: 500 });

const clips = new Map<'H264' | 'VP8', Clip>();
const clip = (codec: 'H264' | 'VP8') => clips.get(codec) as Clip;
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

function asResult(unit: AccessUnit, rendition: Rendition = 'full'): EncodedFrame {
  const at = unit.assembledAtUs;
  return {
    codec: unit.codec === 'H264' ? 'H264' : 'VP8',
    rendition,
    data: unit.data,
    mediaTime: unit.mediaTime,
    keyframe: unit.keyframe,
    width: 320,
    height: 180,
    trace: traceAt(at, unit.receivedAtUs),
  };
}

describe('peers', () => {
  let stack: PeerStack;
  let errors: AppError[];
  let units: AccessUnit[];
  let drops: Record<string, number>;
  /** How many units had come when the first was dropped. */
  let unitsBeforeDrop: number | undefined;
  let audioTimes: number[];
  let publisher: PublisherPeer;
  let viewers: ViewerPeer[];
  let started: Set<ViewerPeer>;
  let ends: { stop(): Promise<void> }[];

  beforeAll(async () => {
    for (const codec of ['H264', 'VP8'] as const) clips.set(codec, await encodeClip({ codec, seconds: 2 }));
  });

  beforeEach(() => {
    stack = new PeerStack(OPTIONS);
    errors = [];
    stack.onError((error) => errors.push(error));
    units = [];
    drops = {};
    unitsBeforeDrop = undefined;
    audioTimes = [];
    viewers = [];
    started = new Set();
    ends = [];
  });

  afterEach(async () => {
    await Promise.all(ends.map((end) => end.stop()));
    await stack.close();
    expect(stack.size).toBe(0);
    expect(errors).toEqual([]);
  });

  const listener: PublisherListener = {
    onState: () => undefined,
    onAccessUnit: (unit) => {
      units.push(unit);
      if (unit.codec === 'VP9') return;
      const packetized = packetize(asResult(unit));
      for (const viewer of viewers) {
        // In the server broadcast/keyframe-gate.ts decides this; the peer writes what it is given.
        if (unit.keyframe && viewer.state === 'connected') started.add(viewer);
        if (started.has(viewer)) viewer.sendResult(packetized);
      }
    },
    onVideoPacket: (packet, codec) => {
      for (const viewer of viewers) viewer.sendSource(packet, codec);
    },
    onAudioPacket: (packet) => {
      audioTimes.push(packet.mediaTime);
      for (const viewer of viewers) viewer.sendAudio(packet);
    },
    onDrop: (reason, count) => {
      unitsBeforeDrop ??= units.length;
      drops[reason] = (drops[reason] ?? 0) + count;
    },
  };

  async function publish(options: Partial<NodePublisherOptions> & { readonly clip: Clip }, clock?: RtpClock) {
    publisher = stack.createPublisher(listener, clock);
    const accepted = publisher;
    const node = new NodePublisher(options);
    ends.push(node);
    await node.start((offer) => accepted.accept(offer));
    return node;
  }

  async function watch(options: NodeViewerOptions = {}) {
    const states: string[] = [];
    const viewer = stack.createViewer(
      {
        onState: (state) => {
          states.push(state);
          if (state === 'connected') publisher.requestKeyframe();
        },
        onKeyframeRequest: () => publisher.requestKeyframe(),
      },
      { width: 320, height: 180 },
    );
    const node = new NodeViewer(options);
    ends.push(node);
    await node.start(async (offer) => {
      const answer = await viewer.accept(offer);
      viewers.push(viewer);
      return answer;
    });
    return { viewer, node, states };
  }

  it.each(['H264', 'VP8'] as const)('deliver %s pictures byte for byte, in and out', async (codec) => {
    await publish({ clip: clip(codec) });
    const { node, viewer, states } = await watch({ codecs: [codec] });
    await until(() => units.length >= 60, 'the whole clip');
    const published = clip(codec).frames;
    // A keyframe request of the joining viewer makes the publisher jump: compare by content, from the clip.
    const known = new Set(published.map(({ data }) => data.toString('base64')));
    for (const unit of units) expect(known.has(Buffer.from(unit.data).toString('base64'))).toBe(true);
    for (const [index, unit] of units.slice(1).entries()) {
      expect(unit.mediaTime - (units[index]?.mediaTime ?? 0)).toBe(3000);
    }
    await until(() => node.frames.length > 30, 'the viewer');
    expect(viewer.resultCodec).toBe(codec);
    expect(node.frames[0]?.keyframe).toBe(true);
    for (const frame of node.frames) expect(known.has(Buffer.from(frame.data).toString('base64'))).toBe(true);
    for (const [index, frame] of node.frames.slice(1).entries()) {
      expect(frame.timestamp - (node.frames[index]?.timestamp ?? 0)).toBe(3000);
    }
    expect(node.getStats().packetsLost).toBe(0);
    expect(drops).toEqual({});
    expect(states).toEqual(['connected']);
  });

  it('forward the untouched source and audio, and report round trip and rates', async () => {
    let sourceFrames = 0;
    const audio: [sequence: number, timestamp: number][] = [];
    await publish({ clip: clip('VP8'), audio: true });
    const { viewer } = await watch({
      codecs: ['VP8', 'H264'],
      source: true,
      audio: true,
      onFrame: (_frame, track) => (sourceFrames += track === 'source' ? 1 : 0),
      onAudioPacket: (sequence, timestamp) => audio.push([sequence, timestamp]),
    });
    expect(viewer.sourceCodecs).toEqual(expect.arrayContaining(['H264', 'VP8']));
    await until(() => sourceFrames >= 60 && audio.length >= 100, 'source frames');
    for (const [index, [sequence, timestamp]] of audio.slice(1).entries()) {
      const [before, beforeTimestamp] = audio[index] ?? [0, 0];
      expect((sequence - before) & 0xffff).toBe(1);
      expect((timestamp - beforeTimestamp) >>> 0).toBe(960);
    }
    await until(() => viewer.getStats().roundTripMs !== undefined, 'a receiver report');
    expect(viewer.getStats().bitrateBps).toBeGreaterThan(400_000);
    expect(publisher.getStats()).toMatchObject({ codec: 'VP8', hasAudio: true, packetsLost: 0 });
    // By the sender reports audio lies on the video's time line: the publisher starts both at once, at its own zeros.
    const drift = () => Math.abs((audioTimes.at(-1) ?? NaN) - (units.at(-1)?.mediaTime ?? NaN));
    await until(() => drift() < 90 * 80, 'audio and video at the same time');
  });

  it('repair 5 % loss on ingest by NACK and RTX: no frame is dropped', async () => {
    let count = 0;
    const node = await publish({ clip: clip('H264'), dropPacket: () => (++count % 20 === 7 ? 'lost' : undefined) });
    await until(() => units.length >= 90, '90 frames');
    expect(drops).toEqual({});
    expect(publisher.getStats().nacksSent).toBeGreaterThan(5);
    expect(publisher.getStats().packetsLost).toBe(0);
    const { nacksReceived, retransmitted } = node.getStats();
    expect(retransmitted).toBeGreaterThan(5);
    expect(nacksReceived, 'no storm').toBeLessThan(retransmitted * 4);
  });

  it('ask for a keyframe when packets are gone for good, and go on from it', async () => {
    let count = 0;
    const node = await publish({ clip: clip('VP8'), dropPacket: () => (++count === 100 ? 'gone' : undefined) });
    await until(() => unitsBeforeDrop !== undefined, 'the loss');
    const before = unitsBeforeDrop ?? NaN;
    await until(() => units.length > before + 20, 'frames after it');
    expect(units[before]?.keyframe).toBe(true);
    expect(node.getStats().pictureLossesReceived).toBeGreaterThanOrEqual(1);
    expect(node.getStats().pictureLossesReceived).toBeLessThanOrEqual(4);
    expect(publisher.getStats().packetsLost).toBe(1);
  });

  it('repair a viewer’s losses by RTX', async () => {
    await publish({ clip: clip('H264') });
    const { node, viewer } = await watch({ lossPercent: 5, jitterMs: 400 });
    await node.waitForFrames(100);
    expect(viewer.getStats().nacksReceived).toBeGreaterThan(3);
    expect(node.getStats().packetsLost).toBe(0);
  });

  it('carry a viewer over from one publisher connection to the next without gap or step back', async () => {
    const clock = new RtpClock();
    const audio: [sequence: number, timestamp: number][] = [];
    const sourceTimes = new Set<number>();
    const first = await publish({ clip: clip('VP8'), audio: true }, clock);
    const { node } = await watch({
      codecs: ['VP8'],
      audio: true,
      source: true,
      onFrame: ({ timestamp }, track) => track === 'source' && sourceTimes.add(timestamp >>> 0),
      onAudioPacket: (sequence, timestamp) => audio.push([sequence, timestamp]),
    });
    await node.waitForFrames(20);
    await first.stop();
    await publisher.close();
    const seen = node.frames.length;
    const audioBefore = audio.length;
    await wait(300);
    await publish({ clip: clip('VP8'), audio: true }, clock);
    await node.waitForFrames(seen + 40);
    const steps = node.frames.map(({ timestamp }, at) => timestamp - (node.frames[at - 1]?.timestamp ?? timestamp));
    // Some of the first publisher's frames may have been on their way when it had gone.
    const framesBefore = steps.indexOf(Math.max(...steps));
    expect(framesBefore).toBeGreaterThanOrEqual(seen);
    expect(node.getStats().packetsLost, 'sequence numbers go on').toBe(0);
    const jump = steps[framesBefore];
    expect(jump).toBeGreaterThan(0.3 * 90_000);
    expect(jump).toBeLessThan(40 * 90_000);
    for (const [index, frame] of node.frames.slice(1).entries()) {
      expect(frame.timestamp).toBeGreaterThan(node.frames[index]?.timestamp ?? 0);
    }
    // The same picture has the same timestamp on both tracks, of either publisher: a page matches them without guessing.
    const after = node.frames.slice(framesBefore, framesBefore + 15);
    for (const { timestamp } of [...node.frames.slice(0, framesBefore), ...after]) {
      expect(sourceTimes, `${sourceTimes.size} source frames`).toContain(timestamp >>> 0);
    }
    await until(() => audio.length > audioBefore + 10, 'audio');
    for (const [index, [sequence]] of audio.slice(1).entries()) {
      expect((sequence - (audio[index]?.[0] ?? 0)) & 0xffff).toBe(1);
    }
  });

  it('write every frame they are given, in order, of any rendition: the domain has chosen', async () => {
    await publish({ clip: clip('VP8') });
    const { node, viewer } = await watch({ codecs: ['VP8'] });
    await node.waitForFrames(5);
    viewers.length = 0; // from here on by hand, a second ahead of what may still be on the way
    const last = node.frames.at(-1)?.timestamp ?? NaN;
    const byHand = () => node.frames.filter(({ timestamp }) => timestamp > last + 80_000);
    const delta = units.find(({ keyframe }) => !keyframe) as AccessUnit;
    const key = units.find(({ keyframe }) => keyframe) as AccessUnit;
    const at = (unit: AccessUnit, frames: number, rendition: Rendition) =>
      packetize({
        ...asResult(unit, rendition),
        mediaTime: (units.at(-1)?.mediaTime ?? 0) + 90_000 + frames * 3000,
      });
    viewer.sendResult(at(delta, 0, 'full'));
    viewer.sendResult(at(key, 1, 'low'));
    viewer.sendResult(at(delta, 2, 'low'));
    await until(() => byHand().length >= 3, 'three frames');
    expect(byHand().map(({ keyframe }) => keyframe)).toEqual([false, true, false]);
    expect(node.getStats().packetsLost).toBe(0);
  });

  it('ask for no keyframe by themselves: the decoder’s PLI is passed on, a join is the domain’s to see', async () => {
    await publish({ clip: clip('VP8') });
    const asked: string[] = [];
    const states: string[] = [];
    const viewer = stack.createViewer(
      { onState: (state) => states.push(state), onKeyframeRequest: (track) => asked.push(track) },
      { width: 320, height: 180 },
    );
    const node = new NodeViewer({ codecs: ['VP8'] });
    ends.push(node);
    await node.start((offer) => viewer.accept(offer));
    await until(() => states.includes('connected'), 'connected');
    await wait(100);
    expect(asked).toEqual([]);
    expect(viewer.getStats().keyframeRequestsReceived).toBe(0);
  });

  it('take garbage as H264 without harm to others', async () => {
    const garbage: Clip = {
      codec: 'H264',
      framesPerSecond: 60,
      frames: Array.from({ length: 100 }, (_, index) => ({
        data: Buffer.concat([Buffer.from([0, 0, 0, 1, 0x7c]), randomBytes(50 + index * 30)]),
        keyframe: true,
      })),
    };
    const hostileUnits: AccessUnit[] = [];
    let hostileDrops = 0;
    const hostile = stack.createPublisher({
      ...listener,
      onAccessUnit: (unit) => hostileUnits.push(unit),
      onDrop: (_reason, count) => (hostileDrops += count),
    });
    const node = new NodePublisher({ clip: garbage });
    ends.push(node);
    await node.start((offer) => hostile.accept(offer));
    await publish({ clip: clip('VP8') });
    await until(() => units.length >= 60, '60 frames of the other publisher');
    expect(hostileDrops + hostileUnits.length).toBeGreaterThan(20);
    expect(drops).toEqual({});
  });

  it('survive noise from an authenticated publisher: RTP, RTX, extensions, RTCP of every type', async () => {
    const hostile = stack.createPublisher({ ...listener, onAccessUnit: () => undefined, onDrop: () => undefined });
    const node = new NodePublisher({ clip: clip('H264'), audio: true });
    ends.push(node);
    await node.start((offer) => hostile.accept(offer));
    await publish({ clip: clip('VP8') });
    const { node: viewing } = await watch({ codecs: ['VP8'] });
    await node.sendNoise(4000);
    const before = units.length;
    await until(() => units.length >= before + 30, '30 more frames of the other publisher');
    await viewing.waitForFrames(30);
    expect(drops).toEqual({});
    expect(hostile.getStats().packetsReceived).toBeGreaterThan(1000);
    // Whether a random sequence number comes close enough to cost a frame is luck; unknown payload types are not.
    const { packetsOfNoTrack } = JSON.parse(JSON.stringify(hostile)) as { packetsOfNoTrack: number };
    expect(packetsOfNoTrack).toBeGreaterThan(100);
    expect(hostile.state, 'forged alerts and hellos are not believed').toBe('connected');
  });

  it('shrug off datagrams of strangers: STUN, DTLS, RTP, noise', async () => {
    let serverPort = 0;
    publisher = stack.createPublisher(listener);
    const node = new NodePublisher({ clip: clip('VP8') });
    ends.push(node);
    await node.start(async (offer) => {
      const answer = await publisher.accept(offer);
      serverPort = Number(/ 127\.0\.0\.1 (\d+) typ host/.exec(answer)?.[1]);
      return answer;
    });
    const stranger = createSocket('udp4');
    try {
      for (let round = 0; round < 3000; round += 1) {
        const noise = randomBytes(1 + (round % 200));
        // Binding requests with a magic cookie, handshake records, RTP, RTCP: the first byte decides (RFC 7983).
        const first = [0, 1, 22, 23, 128, 144, 200][round % 7] as number;
        noise[0] = first;
        if (first === 0 && noise.length >= 20) {
          noise.writeUInt16BE(1, 0);
          noise.writeUInt16BE(noise.length - 20, 2);
          noise.writeUInt32BE(0x2112a442, 4);
        }
        stranger.send(noise, serverPort, '127.0.0.1');
        if (round % 100 === 0) await wait(5);
      }
      await until(() => units.length >= 60, '60 frames');
      expect(drops).toEqual({});
      expect(publisher.state).toBe('connected');
    } finally {
      stranger.close();
    }
  });

  it('answer wrong offers and wrong order with an AppError and leave no socket', async () => {
    const sockets = () => process.getActiveResourcesInfo().filter((name) => name === 'UDPWRAP').length;
    const before = sockets();
    const refused = stack.createPublisher(listener);
    await expect(refused.accept('hello')).rejects.toMatchObject({ code: 'sdp.invalid' });
    await expect(refused.accept(CHROMIUM_WATCH)).rejects.toMatchObject({ code: 'sdp.unsupported' });
    await expect(refused.restart(CHROMIUM_PUBLISH)).rejects.toMatchObject({ code: 'request.state' });
    const viewer = stack.createViewer(
      { onState: () => undefined, onKeyframeRequest: () => undefined },
      { width: 320, height: 180 },
    );
    await expect(viewer.accept(CHROMIUM_PUBLISH)).rejects.toMatchObject({ code: 'sdp.unsupported' });
    expect(() => viewer.resultCodec).toThrow(/not been accepted/);
    expect(sockets()).toBe(before);
    // The refusal does not use the peer up: a right offer works, once.
    await refused.accept(CHROMIUM_PUBLISH);
    await expect(refused.accept(CHROMIUM_PUBLISH)).rejects.toMatchObject({ code: 'request.state' });
    for (const candidate of [
      '',
      'nonsense',
      'candidate:1 1 udp 99 absent.invalid 5 typ host',
      'candidate:1 1 tcp 1 ::1 9 typ host',
    ]) {
      await refused.addCandidate({ candidate });
    }
    await refused.close();
    await refused.close();
    await viewer.close();
    await expect(refused.restart(CHROMIUM_PUBLISH)).rejects.toMatchObject({ code: 'request.unknownSession' });
    expect(stack.size).toBe(0);
  });

  it('notice silence: disconnected, back with the next packet, closed when it lasts', async () => {
    const states: string[] = [];
    publisher = stack.createPublisher({ ...listener, onState: (state) => states.push(state) });
    const node = new NodePublisher({ clip: clip('VP8') });
    ends.push(node);
    await node.start((offer) => publisher.accept(offer));
    await until(() => units.length > 5, 'frames');
    const ticking = publisher as unknown as { tick(nowUs: number): void };
    const pass = (seconds: number) => {
      const nowUs = monotonicUs();
      for (let at = 0; at <= seconds; at += 0.5) ticking.tick(nowUs + at * 1e6);
    };
    pass(9);
    expect(states).toEqual(['connected', 'disconnected']);
    await until(() => publisher.state === 'connected', 'back');
    pass(21);
    expect(publisher.state).toBe('closed');
    expect(states).toEqual(['connected', 'disconnected', 'connected', 'disconnected', 'closed']);
  });

  it('take the DTLS client’s role when the offer wants the server’s', async () => {
    publisher = stack.createPublisher(listener);
    const node = new NodePublisher({ clip: clip('VP8') });
    ends.push(node);
    await node.start(async (offer) => {
      const answer = await publisher.accept(offer.replaceAll('a=setup:actpass', 'a=setup:passive'));
      expect(answer).toContain('a=setup:active');
      return answer;
    });
    await until(() => units.length > 10, 'frames');
  });

  it('refuse a peer whose certificate is not the one its offer names', async () => {
    const states: string[] = [];
    const causes: unknown[] = [];
    const onState = (state: string, cause?: AppError) => {
      states.push(state);
      causes.push(cause);
    };
    publisher = stack.createPublisher({ ...listener, onState });
    const node = new NodePublisher({ clip: clip('VP8') });
    ends.push(node);
    const forged = (offer: string) => offer.replace(/(a=fingerprint:sha-256 )\S+/g, `$1${'AB:'.repeat(31)}CD`);
    const started = node.start((offer) => publisher.accept(forged(offer))).catch(() => 'failed');
    await until(() => publisher.state === 'closed', 'closed');
    expect(states).toEqual(['closed']);
    expect(causes).toMatchObject([{ code: 'peer.handshake', context: { reason: 'fingerprintMismatch' } }]);
    expect(errors.splice(0)).toEqual(causes);
    expect(units).toEqual([]);
    await node.stop();
    await started;
  });

  it('bound the retransmissions of a viewer that asks for every packet again', async () => {
    await publish({ clip: clip('VP8') });
    const { viewer, node } = await watch({ codecs: ['VP8'] });
    await node.waitForFrames(30);
    const before = viewer.getStats().packetsSent;
    const startedUs = monotonicUs();
    for (let round = 0; round < 50; round += 1) {
      node.requestAgain(500);
      await wait(20);
    }
    await until(() => viewer.getStats().nacksReceived > 5000, 'the requests');
    // One second of 30 fps at 500 kbit/s is about 75 packets; 50 x 500 were asked for.
    const seconds = (monotonicUs() - startedUs) / 1e6;
    expect(viewer.getStats().packetsSent - before).toBeLessThan(600 * Math.max(1, seconds));
  });

  it('use the configured port range and announce additional addresses', async () => {
    const own = new PeerStack({ ...OPTIONS, portRange: [47_000, 47_050], additionalHostAddresses: ['203.0.113.7'] });
    try {
      const peer = own.createPublisher(listener);
      const answer = await peer.accept(CHROMIUM_PUBLISH);
      const candidates = [...answer.matchAll(/^a=candidate:\S+ 1 udp \d+ (\S+) (\d+) typ host/gm)];
      expect(candidates.map(([, address]) => address)).toEqual(['203.0.113.7', '127.0.0.1']);
      for (const [, , port] of candidates) {
        expect(Number(port)).toBeGreaterThanOrEqual(47_000);
        expect(Number(port)).toBeLessThanOrEqual(47_050);
      }
      expect(answer).toContain('a=end-of-candidates');
    } finally {
      await own.close();
    }
  });
});

describe('fifty cycles of publishing, watching and leaving', () => {
  it('leave no peers, sockets or timers', async () => {
    const vp8 = await encodeClip({ codec: 'VP8', seconds: 1 });
    const stack = new PeerStack(OPTIONS);
    const resources = () => {
      const names = process.getActiveResourcesInfo();
      return {
        sockets: names.filter((name) => name === 'UDPWRAP').length,
        timers: names.filter((name) => name === 'Timeout').length,
      };
    };
    const before = resources();
    for (let cycle = 0; cycle < 50; cycle += 1) {
      let units = 0;
      const watching: ViewerPeer[] = [];
      const publisher = stack.createPublisher({
        onState: () => undefined,
        onAccessUnit: (unit) => {
          units += 1;
          for (const viewer of watching) viewer.sendResult(packetize(asResult(unit)));
        },
        onVideoPacket: () => undefined,
        onAudioPacket: () => undefined,
        onDrop: () => undefined,
      });
      const from = new NodePublisher({ clip: vp8 });
      await from.start((offer) => publisher.accept(offer));
      await until(() => units > 2, 'frames');
      const to = new NodeViewer({ codecs: ['VP8'] });
      const accepted = stack.createViewer(
        {
          onState: (state) => state === 'connected' && publisher.requestKeyframe(),
          onKeyframeRequest: () => publisher.requestKeyframe(),
        },
        { width: 320, height: 180 },
      );
      watching.push(accepted);
      if (cycle % 5 === 4) {
        // Every fifth viewer is gone before it has connected.
        await accepted.accept(CHROMIUM_WATCH);
      } else {
        await to.start((offer) => accepted.accept(offer));
        await to.waitForFrames(2);
      }
      // Sometimes the far side leaves first, sometimes we do.
      if (cycle % 2 === 0) await Promise.all([from.stop(), to.stop()]);
      await Promise.all([publisher.close(), accepted.close()]);
      await Promise.all([from.stop(), to.stop()]);
    }
    expect(stack.size).toBe(0);
    await until(() => {
      const now = resources();
      return now.sockets <= before.sockets && now.timers <= before.timers;
    }, 'handles back to the start');
    await stack.close();
  }, 300_000);
});
