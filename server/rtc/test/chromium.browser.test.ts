import { existsSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { chromium, type Browser, type Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Link } from '../../../testing/link.ts';
import { Decoder } from '../../codec/decoder.ts';
import { monotonicUs } from '../../media/clock.ts';
import { quantile } from '../../media/quantile.ts';
import { packetize } from '../../media/packetizer.ts';
import type { Picture } from '../../media/picture.ts';
import { traceAt } from '../../media/steps.ts';
import type { AccessUnit, EncodedFrame, ResultCodec } from '../../media/types.ts';
import type { PublisherPeer, ViewerPeer } from '../peers.ts';
import { testRtcOptions } from '../../../testing/rtc-options.ts';
import { PeerStack } from '../peer-stack.ts';
import { until } from '../../../testing/until.ts';

/**
 * Chromium as the far side: what it publishes arrives as access units, what the viewer peer sends it plays. The page is
 * empty; its script is below. Signalling is a function call.
 */

const OPTIONS = testRtcOptions();

/** Runs in the page. */
const PAGE_SCRIPT = `
  globalThis.peers = {};
  /** Noise that moves: content that fills whatever bit rate is allowed. */
  function noise(width, height, framesPerSecond) {
    const canvas = document.createElement('canvas');
    canvas.width = width; canvas.height = height;
    const context = canvas.getContext('2d');
    const tile = context.createImageData(width, height);
    for (let at = 0; at < tile.data.length; at += 4) {
      tile.data[at] = Math.random() * 255; tile.data[at + 1] = Math.random() * 255; tile.data[at + 2] = Math.random() * 255;
      tile.data[at + 3] = 255;
    }
    const bitmap = document.createElement('canvas');
    bitmap.width = width; bitmap.height = height;
    bitmap.getContext('2d').putImageData(tile, 0, 0);
    let step = 0;
    setInterval(() => {
      step += 1;
      context.drawImage(bitmap, (step * 7) % width, (step * 3) % height);
      context.drawImage(bitmap, (step * 7) % width - width, (step * 3) % height);
      context.fillStyle = 'rgb(0,128,255)';
      context.fillRect((step * 5) % width, 40, 60, 60);
    }, 1000 / framesPerSecond);
    return canvas.captureStream(framesPerSecond);
  }
  async function publish({ codec, width, height, maxBitrate, audio, scalabilityMode }) {
    const peer = peers.publisher = new RTCPeerConnection();
    const stream = noise(width, height, 30);
    const transceiver = peer.addTransceiver(stream.getVideoTracks()[0], {
      direction: 'sendonly', streams: [stream], sendEncodings: [scalabilityMode ? { scalabilityMode } : {}],
    });
    if (codec !== undefined) {
      const all = RTCRtpSender.getCapabilities('video').codecs;
      transceiver.setCodecPreferences(
        all.filter((c) => c.mimeType === 'video/' + codec).concat(all.filter((c) => c.mimeType === 'video/rtx')));
    }
    if (audio) {
      const microphone = await navigator.mediaDevices.getUserMedia({ audio: true });
      peer.addTransceiver(microphone.getAudioTracks()[0], { direction: 'sendonly', streams: [stream] });
    }
    await peer.setLocalDescription();
    await gathered(peer);
    const answer = await signal('publish', peer.localDescription.sdp);
    await peer.setRemoteDescription({ type: 'answer', sdp: answer });
    {
      const parameters = transceiver.sender.getParameters();
      parameters.encodings[0].maxBitrate = maxBitrate;
      parameters.degradationPreference = 'maintain-resolution';
      await transceiver.sender.setParameters(parameters);
    }
    return answer;
  }
  async function restart(name) {
    const peer = peers[name];
    peer.restartIce();
    await peer.setLocalDescription();
    await gathered(peer);
    await peer.setRemoteDescription({ type: 'answer', sdp: await signal('restart ' + name, peer.localDescription.sdp) });
  }
  async function watch({ codec, source, audio }) {
    const peer = peers.viewer = new RTCPeerConnection();
    peers.streams = [];
    peer.ontrack = ({ track, streams }) => {
      peers.streams.push([track.kind, streams.map((stream) => stream.id).join()]);
      // Audio that nothing plays is never pulled, and has no playout time.
      const video = document.createElement(track.kind);
      video.muted = true; video.autoplay = true; video.playsInline = true;
      video.srcObject = new MediaStream([track]);
      document.body.append(video);
    };
    const transceivers = [peer.addTransceiver('video', { direction: 'recvonly' })];
    if (source) transceivers.push(peer.addTransceiver('video', { direction: 'recvonly' }));
    if (audio) peer.addTransceiver('audio', { direction: 'recvonly' });
    if (codec !== undefined) {
      const all = RTCRtpReceiver.getCapabilities('video').codecs;
      transceivers[0].setCodecPreferences(
        all.filter((c) => c.mimeType === 'video/' + codec).concat(all.filter((c) => c.mimeType === 'video/rtx')));
    }
    await peer.setLocalDescription();
    await gathered(peer);
    await peer.setRemoteDescription({ type: 'answer', sdp: await signal('watch', peer.localDescription.sdp) });
  }
  function gathered(peer) {
    if (peer.iceGatheringState === 'complete') return;
    return new Promise((resolve) => {
      peer.onicegatheringstatechange = () => peer.iceGatheringState === 'complete' && resolve();
      setTimeout(resolve, 2000);
    });
  }
  async function stats(name, type, kind) {
    const list = [];
    for (const entry of (await peers[name].getStats()).values()) {
      if (entry.type === type && (kind === undefined || entry.kind === kind)) list.push({ ...entry });
    }
    return list;
  }
`;

type Stats = Record<string, number | string | undefined>[];

const executable = process.env['CHROMIUM'] ?? '/usr/bin/chromium';
const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

describe('Chromium', () => {
  let browser: Browser;
  let server: Server;
  let page: Page;
  let stack: PeerStack;
  let publisher: PublisherPeer;
  let viewer: ViewerPeer | undefined;
  let units: AccessUnit[];
  let audioPackets: number;
  let drops: Record<string, number>;
  /** Between the publishing page and the server, if a test sets it. */
  let link: Link | undefined;

  beforeAll(async () => {
    expect(existsSync(executable), `Chromium at ${executable} (apt-get install chromium, or set CHROMIUM)`).toBe(true);
    server = createServer((_request, response) => {
      response.setHeader('content-type', 'text/html');
      response.end(`<!doctype html><title>peer</title><body><script>${PAGE_SCRIPT}</script>`);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    browser = await chromium.launch({
      executablePath: executable,
      args: [
        '--no-sandbox',
        '--disable-gpu',
        '--no-first-run',
        '--disable-background-networking',
        '--allow-loopback-in-peer-connection',
        '--disable-features=WebRtcHideLocalIpsWithMdns',
        '--use-fake-ui-for-media-stream',
        '--use-fake-device-for-media-stream',
        '--autoplay-policy=no-user-gesture-required',
      ],
    });
  });

  afterAll(async () => {
    await browser?.close();
    await new Promise((resolve) => server?.close(resolve));
  });

  beforeEach(async () => {
    stack = new PeerStack(OPTIONS);
    stack.onError((error) => console.error(error));
    units = [];
    audioPackets = 0;
    drops = {};
    viewer = undefined;
    link = undefined;
    page = await browser.newPage();
    page.on('pageerror', (error) => console.error('page:', error));
    await page.exposeFunction('signal', (kind: string, sdp: string) => accept(kind, sdp));
    await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
  });

  afterEach(async () => {
    await page.close();
    await stack.close();
    link?.close();
  });

  function accept(kind: string, sdp: string): Promise<string> {
    if (kind === 'restart publisher') return publisher.restart(sdp);
    if (kind === 'restart viewer' && viewer !== undefined) return viewer.restart(sdp);
    const through = link === undefined ? (run: typeof acceptPublisher) => run : link.signal.bind(link);
    return kind === 'publish' ? through(acceptPublisher)(sdp) : acceptViewer(sdp);
  }

  /** Publisher -> (no upscaler) -> viewer: the source's own frames stand in for the result. */
  function acceptPublisher(sdp: string): Promise<string> {
    publisher = stack.createPublisher({
      onState: () => undefined,
      onAccessUnit: (unit) => {
        units.push(unit);
        if (unit.codec === 'VP8' || unit.codec === 'H264') viewer?.sendResult(packetize(asResult(unit, unit.codec)));
      },
      onVideoPacket: (packet, codec) => viewer?.sendSource(packet, codec),
      onAudioPacket: (packet) => {
        audioPackets += 1;
        viewer?.sendAudio(packet);
      },
      onDrop: (reason, count) => (drops[reason] = (drops[reason] ?? 0) + count),
    });
    return publisher.accept(sdp);
  }

  function acceptViewer(sdp: string): Promise<string> {
    viewer = stack.createViewer(
      {
        onState: (state) => state === 'connected' && publisher.requestKeyframe(),
        onKeyframeRequest: () => publisher.requestKeyframe(),
      },
      { width: 320, height: 180 },
    );
    return viewer.accept(sdp);
  }

  const stats = (name: string, type: string, kind?: string) =>
    page.evaluate(
      ([peer, of, media]) =>
        (globalThis as unknown as { stats(...a: unknown[]): Promise<Stats> }).stats(peer, of, media),
      [name, type, kind] as const,
    );
  const call = (name: 'publish' | 'watch', options: Record<string, unknown>) =>
    page.evaluate(
      ([method, given]) =>
        (globalThis as unknown as Record<string, (o: unknown) => Promise<string>>)[method as string]?.(given),
      [name, options] as const,
    );

  for (const codec of ['VP8', 'H264'] as const) {
    it(`publishes ${codec} and plays back what the viewer peer sends, with audio in the same stream`, async () => {
      const answer = await call('publish', { codec, width: 320, height: 180, maxBitrate: 500_000, audio: true });
      expect(answer).not.toContain('goog-remb');
      expect(answer).not.toContain('ccm fir');
      expect(answer).not.toContain('video-orientation');
      await until(() => units.length > 0, 'first access unit');
      expect(units[0]).toMatchObject({ codec, keyframe: true });

      await call('watch', { codec, source: true, audio: true });
      await until(
        async () => {
          const [result] = await stats('viewer', 'inbound-rtp', 'video');
          return Number(result?.['framesDecoded'] ?? 0) >= 30;
        },
        '30 decoded frames',
        30_000,
      );
      const inbound = await stats('viewer', 'inbound-rtp', 'video');
      expect(inbound).toHaveLength(2);
      for (const track of inbound) expect(track).toMatchObject({ frameWidth: 320, frameHeight: 180 });
      const streams = await page.evaluate(
        () => (globalThis as unknown as { peers: { streams: [string, string][] } }).peers.streams,
      );
      expect(streams.map(([kind]) => kind).sort()).toEqual(['audio', 'video', 'video']);
      expect(new Set(streams.map(([, id]) => id)).size, 'one MediaStream for all tracks').toBe(1);
      const audio = await until(async () => {
        const [found] = await stats('viewer', 'inbound-rtp', 'audio');
        return Number(found?.['packetsReceived'] ?? 0) > 20 ? found : undefined;
      }, 'audio');
      expect(Number(audio['packetsLost'])).toBeLessThanOrEqual(1);
      expect(audioPackets).toBeGreaterThan(20);
      const sizes: unknown = await page.evaluate(
        `[...document.querySelectorAll('video')].map((video) => [video.videoWidth, video.videoHeight])`,
      );
      expect(sizes).toEqual([
        [320, 180],
        [320, 180],
      ]);
      await until(() => viewer?.getStats().estimateBps !== undefined, 'a REMB');

      // By our sender reports the browser puts both tracks on one clock: what it plays together was captured together.
      const skews: number[] = [];
      let playout = '';
      await until(
        async () => {
          // The result and the source play the same pictures here; either has a time once its first report is in.
          const at = async (kind: string) =>
            (await stats('viewer', 'inbound-rtp', kind))
              .map((track) => Number(track['estimatedPlayoutTimestamp'] ?? NaN))
              .find((time) => !Number.isNaN(time));
          const [video, audio] = await Promise.all([at('video'), at('audio')]);
          playout = `video ${video}, audio ${audio}`;
          if (video !== undefined && audio !== undefined) skews.push(Math.round(video - audio));
          return skews.length >= 20;
        },
        'playout times of both tracks',
        20_000,
      ).catch((error: Error) => {
        throw new Error(`${error.message}; last: ${playout}`);
      });
      const median = [...skews].sort((a, b) => a - b)[10] ?? NaN;
      console.log(`${codec}: video - audio at playout, ms: median ${median}, all ${skews.join(' ')}`);
      expect(Math.abs(median)).toBeLessThan(250);
    });
  }

  for (const [codec, scalabilityMode] of [
    ['VP9', 'L2T1_KEY'],
    ['AV1', 'L2T1'],
  ] as const) {
    it(`publishes ${codec} ${scalabilityMode}: every picture is of the base layer`, async () => {
      await call('publish', { codec, width: 640, height: 360, maxBitrate: 800_000, scalabilityMode });
      await until(() => units.length > 20, 'access units');
      const decoder = new Decoder({ codec, maxPixels: 1e6 });
      try {
        const decoded = units.flatMap((unit) => decoder.decode(unit));
        expect(decoded.map((picture) => picture.width)).toEqual(units.map(() => 320));
        for (const picture of decoded) picture.release();
      } finally {
        decoder.close();
      }
    });
  }

  for (const codec of ['VP9', 'AV1'] as const) {
    it(`publishes ${codec}, which decodes to its pictures, and the forwarded source plays`, async () => {
      await call('publish', { codec, width: 320, height: 180, maxBitrate: 500_000 });
      await until(() => units.length > 5, 'access units');
      expect(units[0]).toMatchObject({ codec, keyframe: true });
      const decoder = new Decoder({ codec, maxPixels: 1e6 });
      try {
        const decoded = units.flatMap((unit) => decoder.decode(unit));
        expect(decoded.map(({ width, height }) => [width, height])).toEqual(units.map(() => [320, 180]));
        // The page's noise: what a broken reference gives is flat or grey.
        for (const picture of decoded) expect(spread(picture)).toBeGreaterThan(20);
        for (const picture of decoded) picture.release();
      } finally {
        decoder.close();
      }
      await call('watch', { source: true });
      expect(viewer?.sourceCodecs).toContain(codec);
      await until(
        async () =>
          (await stats('viewer', 'inbound-rtp', 'video')).some((track) => Number(track['framesDecoded']) >= 10),
        'ten decoded frames of the source',
        30_000,
      );
      expect(drops).toEqual({});
    });
  }

  it('restarts ICE for a viewer, too', async () => {
    await call('publish', { codec: 'VP8', width: 320, height: 180, maxBitrate: 500_000 });
    await until(() => units.length > 5, 'access units');
    await call('watch', { codec: 'VP8' });
    const decoded = async () => Number((await stats('viewer', 'inbound-rtp', 'video'))[0]?.['framesDecoded'] ?? 0);
    await until(async () => (await decoded()) > 5, 'frames');
    await page.evaluate(`restart('viewer')`);
    const before = await decoded();
    await until(async () => (await decoded()) > before + 20, 'more frames');
    expect(viewer?.state).toBe('connected');
  });

  it('reaches 1 Mbit/s within seconds when 1.5 Mbit/s are allowed, and holds it', async () => {
    await call('publish', { codec: 'VP8', width: 640, height: 360, maxBitrate: 1_500_000 });
    await until(() => publisher.state === 'connected', 'connection');
    const startUs = monotonicUs();
    await until(() => publisher.getStats().bitrateBps >= 1_000_000, '1 Mbit/s');
    const reachedMs = (monotonicUs() - startUs) / 1000;
    const held: string[] = [];
    const allowed: number[] = [];
    for (let second = 0; second < 6; second += 1) {
      await wait(1000);
      const [sent] = await stats('publisher', 'outbound-rtp', 'video');
      allowed.push(await allowedBps());
      held.push(
        `${Math.round(publisher.getStats().bitrateBps / 1000)} of ${Math.round((allowed.at(-1) ?? 0) / 1000)} kbit/s, ` +
          `${sent?.['framesPerSecond']} fps, limited by ${sent?.['qualityLimitationReason']}`,
      );
    }
    console.log(`1 Mbit/s after ${reachedMs.toFixed(0)} ms, then each second: ${held.join('; ')}`);
    // What the estimator allows is the feedback's doing; what is sent also depends on how busy this machine is.
    expect(quantile(allowed, 0.5)).toBeGreaterThan(1_000_000);
  });

  it('repairs 2 % loss with 40 ms round trip by NACK and RTX', async () => {
    link = await Link.open({ lossPercent: 2, delayMs: 20 }, { delayMs: 20 });
    await call('publish', { codec: 'VP8', width: 320, height: 180, maxBitrate: 800_000 });
    await until(() => units.length >= 200, '200 access units', 30_000);
    const { packetsLost, nacksSent, keyframeRequestsSent } = publisher.getStats();
    const dropped = Object.values(drops).reduce((sum, count) => sum + count, 0);
    console.log(
      `2 % loss: ${link.getStats().up.dropped} packets lost on the way, ${nacksSent} asked for again, ${packetsLost} ` +
        `never came; ${units.length} units, ${dropped} dropped, ${keyframeRequestsSent} keyframes requested`,
    );
    expect(link.getStats().up.dropped).toBeGreaterThan(5);
    expect(dropped / units.length).toBeLessThan(0.05);
  });

  it('comes down in a 500 kbit/s bottleneck and recovers when it is gone', async () => {
    link = await Link.open({}, {});
    await call('publish', { codec: 'VP8', width: 320, height: 180, maxBitrate: 1_500_000 });
    await until(async () => (await allowedBps()) > 1_000_000, '1 Mbit/s allowed');
    link.change({ bitrateBps: 500_000, queueMs: 300 });
    const changedAt = Date.now();
    await until(async () => (await allowedBps()) < 600_000, 'the estimate to come down');
    const downMs = Date.now() - changedAt;
    const estimates: number[] = [];
    for (let quarter = 0; quarter < 16; quarter += 1) {
      await wait(250);
      estimates.push(await allowedBps());
    }
    const settled = quantile(estimates, 0.5);
    const { forwarded, dropped } = link.getStats().up;
    link.change({});
    const freedAt = Date.now();
    await until(async () => (await allowedBps()) > 1_000_000, 'recovery', 40_000);
    console.log(
      `bottleneck: down to ${Math.round(settled / 1000)} kbit/s, first below 600 after ${downMs} ms, ` +
        `${((100 * dropped) / (forwarded + dropped)).toFixed(1)} % dropped; above 1 Mbit/s again ${Date.now() - freedAt} ms after it ended`,
    );
    expect(settled).toBeLessThan(650_000);
  });

  it('restarts ICE as the answerer without a break', async () => {
    await call('publish', { codec: 'VP8', width: 320, height: 180, maxBitrate: 500_000 });
    await until(() => units.length > 10, 'access units');
    const selected = async () => (await stats('publisher', 'transport'))[0]?.['selectedCandidatePairId'];
    const pairBefore = await selected();
    await page.evaluate(`restart('publisher')`);
    await until(async () => ![undefined, pairBefore].includes(await selected()), 'a new candidate pair');
    const before = units.length;
    await until(() => units.length > before + 30, '30 more units');
    expect(publisher.state).toBe('connected');
    expect(drops).toEqual({});
  });

  it('closes the peer when the page leaves, without waiting for silence', async () => {
    await call('publish', { codec: 'VP8', width: 320, height: 180 });
    await until(() => units.length > 5, 'access units');
    await page.evaluate('peers.publisher.close()');
    await until(() => publisher.state === 'closed', 'closed', 15_000);
  });

  it('closes the page’s transport when the server closes, without a timeout', async () => {
    await call('publish', { codec: 'VP8', width: 320, height: 180 });
    await until(() => units.length > 5, 'access units');
    await publisher.close();
    await until(
      () => page.evaluate(`peers.publisher.getSenders()[0].transport.state === 'closed'`),
      'the page’s transport to close',
      10_000,
    );
  });

  async function allowedBps(): Promise<number> {
    const pairs = await stats('publisher', 'candidate-pair');
    return Math.max(0, ...pairs.map((entry) => Number(entry['availableOutgoingBitrate'] ?? 0)));
  }
});

/** Standard deviation of the luma. */
function spread({ y, yStride, width, height }: Picture): number {
  let sum = 0;
  let squares = 0;
  for (let row = 0; row < height; row += 1) {
    for (let column = 0; column < width; column += 1) {
      const sample = y[row * yStride + column] ?? 0;
      sum += sample;
      squares += sample * sample;
    }
  }
  const mean = sum / (width * height);
  return Math.sqrt(squares / (width * height) - mean * mean);
}

function asResult(unit: AccessUnit, codec: ResultCodec): EncodedFrame {
  const at = unit.assembledAtUs;
  return {
    codec,
    rendition: 'full',
    data: unit.data,
    mediaTime: unit.mediaTime,
    keyframe: unit.keyframe,
    width: 320,
    height: 180,
    trace: traceAt(at, unit.receivedAtUs),
  };
}
