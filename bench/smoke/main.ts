import { parseArgs } from 'node:util';
import { startApp } from '../../server/app.ts';
import { TIMED_STEPS, type TimedStep } from '../../server/media/steps.ts';
import { loadConfig } from '../../server/config/config.ts';
import { createLog } from '../../server/log.ts';
import { encodeClip } from '../../testing/clip.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { NodeViewer } from '../../testing/peers/node-viewer.ts';
import { SignalingClient } from '../../testing/peers/signaling-client.ts';
import { printTable } from '../table.ts';

/**
 * `npm run smoke`: the whole main path on this machine in under 30 s, without GPU or browser. Starts a server on a free
 * port, publishes the sample clip through real WebRTC, watches result and source, prints the frame's way, and exits
 * non-zero when anything that a user would notice is wrong.
 */
const CLIP = new URL('../../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;

const NOTES: Readonly<Partial<Record<TimedStep, string>>> = {
  assemble: 'first packet in -> frame complete',
  gather: 'waiting for the upscaler',
};

const { values } = parseArgs({
  options: {
    model: { type: 'string', default: 'auto' },
    seconds: { type: 'string', default: '8' },
    codec: { type: 'string', default: 'H264' },
    fps: { type: 'string', default: '30' },
  },
});

async function main(): Promise<number> {
  const startedAtMs = performance.now();
  const seconds = Number(values.seconds);
  const fps = Number(values.fps);
  const codec = values.codec === 'VP8' ? 'VP8' : 'H264';
  const config = loadConfig({ argv: ['--port', '0', '--model', values.model, '--log-level', 'warn'] });
  const app = await startApp(config, createLog(config.log));
  const clip = await encodeClip({ codec, file: CLIP, framesPerSecond: fps, seconds: 6, bitrateBps: 300_000 });
  const publishing = await SignalingClient.connect(app.url);
  const watching = await SignalingClient.connect(app.url);

  const publisher = new NodePublisher({ clip, audio: true });
  let session = '';
  await publisher.start(async (offer) => {
    const reply = await publishing.publish('smoke', offer);
    session = reply.session;
    return reply.sdp;
  });

  const sourceAtMs = new Map<number, number>();
  const resultAtMs = new Map<number, number>();
  let audioPackets = 0;
  const viewer = new NodeViewer({
    source: true,
    audio: true,
    onAudioPacket: () => (audioPackets += 1),
    onFrame: (frame, track) => (track === 'result' ? resultAtMs : sourceAtMs).set(frame.timestamp, frame.firstPacketMs),
  });
  const joinAtMs = performance.now();
  await viewer.start(async (offer) => (await watching.watch('smoke', offer)).sdp);
  await viewer.waitForFrames(1);
  const joinMs = performance.now() - joinAtMs;
  // The first second holds worker start, code compilation and the first keyframes.
  await sleep(1500);
  const before = { received: viewer.getStats().frames, sent: publisher.getStats().framesSent, atMs: performance.now() };
  await sleep(seconds * 1000);
  const elapsed = (performance.now() - before.atMs) / 1000;
  const fpsIn = (publisher.getStats().framesSent - before.sent) / elapsed;
  const fpsOut = (viewer.getStats().frames - before.received) / elapsed;
  const stats = publishing.stats.get(session);
  const metrics = await app.metrics.text();

  await publishing.leave(session);
  await publisher.stop();
  await viewer.stop();
  publishing.close();
  watching.close();
  await app.close();
  if (stats === undefined) throw new Error('the server pushed no statistics');

  const { source, output, steps, addedLatencyMs, drops, load, model, audio } = stats;
  const size = viewer.frames.length;
  printTable(`smoke: ${model.label} on ${model.device}, ${codec} in`, [
    [
      'in',
      `${source.width}x${source.height}`,
      `${fpsIn.toFixed(1)} fps`,
      `${(source.bitrateBps / 1000).toFixed(0)} kbit/s`,
    ],
    [
      'out',
      `${output.width}x${output.height}`,
      `${fpsOut.toFixed(1)} fps`,
      `${(output.bitrateBps / 1000).toFixed(0)} kbit/s ${output.codec}`,
    ],
    ...TIMED_STEPS.map((step) => [step, `${steps[`${step}Ms`].toFixed(1)} ms`, '', NOTES[step] ?? '']),
    ['load', `${(load * 100).toFixed(0)} %`, '', `rung ${model.rungLabel}`],
    [
      'added latency',
      `${addedLatencyMs.p50.toFixed(1)} ms p50`,
      `${addedLatencyMs.p95.toFixed(1)} ms p95`,
      'frame complete in -> first packet out, last second',
    ],
    ['drops', JSON.stringify(drops), '', ''],
    ['join', `${joinMs.toFixed(0)} ms`, '', 'offer -> first frame'],
    ['audio', `${audioPackets} packets`, `${audio.delayMs} ms delay`, ''],
    ['run', `${((performance.now() - startedAtMs) / 1000).toFixed(1)} s`, `${size} frames`, ''],
  ]);

  const failures: string[] = [];
  const expect = (ok: boolean, what: string): void => void (ok || failures.push(what));
  expect(fpsOut >= 0.9 * fpsIn, `only ${fpsOut.toFixed(1)} of ${fpsIn.toFixed(1)} fps came back`);
  expect(output.width === Math.round(source.width * model.scale), `the result is ${output.width} pixels wide`);
  expect(audioPackets > 30 * seconds, `only ${audioPackets} audio packets`);
  expect(sourceAtMs.size > 0.8 * fps * seconds, `only ${sourceAtMs.size} frames of the untouched source`);
  expect(
    viewer.frames.every((frame, index, all) => index === 0 || frame.timestamp > (all[index - 1]?.timestamp ?? 0)),
    'frames came out of order',
  );
  expect(/flashvsr_frames_total\{stage="sent"\} [1-9]/.test(metrics), '/metrics counted no frame');
  for (const failure of failures) console.error(`FAILED ${failure}`);
  return failures.length === 0 ? 0 : 1;
}

function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

const deadline = setTimeout(() => {
  console.error('FAILED smoke took longer than 60 s');
  process.exit(1);
}, 60_000);
main().then(
  (code) => {
    clearTimeout(deadline);
    process.exit(code);
  },
  (error: unknown) => {
    console.error('FAILED', error);
    process.exit(1);
  },
);
