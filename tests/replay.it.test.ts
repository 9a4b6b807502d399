import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { startApp, type App } from '../server/app.ts';
import { replay } from '../server/cli/replay.ts';
import { configSchema, loadConfig } from '../server/config/config.ts';
import { createLog } from '../server/log.ts';
import { encodeClip } from '../testing/clip.ts';
import { NodePublisher } from '../testing/peers/node-publisher.ts';
import { SignalingClient } from '../testing/peers/signaling-client.ts';
import { until } from '../testing/until.ts';

/** A live session over a line that loses packets, recorded, and sent through the server again. */
const CLIP = new URL('../testdata/clips/astronaut_320x180.mp4', import.meta.url).pathname;

let app: App;
let folder: string;

beforeAll(async () => {
  folder = mkdtempSync(path.join(tmpdir(), 'recordings-'));
  const config = loadConfig({
    argv: ['--port', '0', '--model', 'resize', '--log-level', 'silent', '--debug.recordFolder', folder],
  });
  app = await startApp(config, createLog(config.log));
});
afterAll(async () => {
  await app.close();
  rmSync(folder, { recursive: true, force: true });
});

it('a recorded session gives the same access units again, and every replay the same pictures and frames', async () => {
  const clip = await encodeClip({ codec: 'H264', file: CLIP, seconds: 2, bitrateBps: 300_000 });
  const signaling = await SignalingClient.connect(app.url);
  // Some packets are retransmitted, some never come: the jitter buffer's waits and the drops are part of what is replayed.
  const publisher = new NodePublisher({
    clip,
    dropPacket: (sequence) => (sequence % 97 === 60 ? 'gone' : sequence % 41 === 20 ? 'lost' : undefined),
  });
  await publisher.start(async (offer) => (await signaling.publish('recorded', offer)).sdp);
  await until(() => publisher.getStats().framesSent >= 90, 'three seconds of frames');
  await publisher.stop();
  signaling.close();
  await until(() => app.sessions.size === 0, 'the end of the session');

  const [name] = readdirSync(folder);
  const file = path.join(folder, name ?? '');
  const model = configSchema.shape.model.parse({ name: 'resize' });
  const first = await replay(file, { model, codec: 'H264' });
  expect(first.differentUnits).toEqual([]);
  expect(first.units.count).toBeGreaterThan(40);
  expect(first.units.count).toBeLessThan(publisher.getStats().framesSent);
  expect(first.encoded.count).toBe(first.decoded.count);
  const second = await replay(file, { model, codec: 'H264' });
  for (const step of ['units', 'decoded', 'upscaled', 'encoded'] as const) {
    expect(second[step].hex).toBe(first[step].hex);
  }
});
