import { cpSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, expect, it } from 'vitest';
import { encodeClip } from '../../testing/clip.ts';
import { NodePublisher } from '../../testing/peers/node-publisher.ts';
import { NodeViewer } from '../../testing/peers/node-viewer.ts';
import { ServerProcess } from '../../testing/server-process.ts';
import { TestClient } from '../../testing/signaling/test-client.ts';

const NANO = fileURLToPath(new URL('../../models/nano/', import.meta.url));
const cleanup: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of cleanup.splice(0).reverse()) await end();
});

async function connect(server: ServerProcess): Promise<TestClient> {
  const client = await TestClient.greeted(`${server.url.replace('http', 'ws')}/ws`);
  cleanup.push(() => client.socket.terminate());
  return client;
}

async function publish(server: ServerProcess, name: string): Promise<TestClient> {
  const client = await connect(server);
  const publisher = new NodePublisher({ clip: await encodeClip({ codec: 'VP8', seconds: 1, bitrateBps: 200_000 }) });
  cleanup.push(() => publisher.stop());
  await publisher.start(async (sdp) => {
    client.send({ type: 'publish', id: 1, name, sdp });
    return (await client.get('published')).sdp;
  });
  return client;
}

async function watch(server: ServerProcess, name: string): Promise<NodeViewer> {
  const client = await connect(server);
  const viewer = new NodeViewer({ countOnly: true });
  cleanup.push(() => viewer.stop());
  await viewer.start(async (sdp) => {
    client.send({ type: 'watch', id: 1, name, sdp });
    return (await client.get('watching')).sdp;
  });
  return viewer;
}

it("a model damaged while the server runs: newcomers learn the code but no path or checksum of the server's machine", async () => {
  const folder = mkdtempSync(join(tmpdir(), 'flashvsr-damaged-'));
  cleanup.push(() => rmSync(folder, { recursive: true }));
  cpSync(NANO, folder, { recursive: true });
  const file = join(folder, 'nano.onnx');
  const whole = readFileSync(file);
  const server = await ServerProcess.start({ args: ['--model', folder, '--limits.maxBroadcasts', '4'] });
  cleanup.push(() => server.kill());
  await publish(server, 'good');
  const viewer = await watch(server, 'good');
  await viewer.waitForFrames(10, 90_000);

  truncateSync(file, 1000);
  const late = await publish(server, 'late');
  const { error } = await late.get('state', (push) => push.state === 'ended');
  expect(error).toMatchObject({ code: 'model.invalid' });
  expect(JSON.stringify(late.messages) + JSON.stringify(error)).not.toMatch(
    /flashvsr-damaged|\/tmp|sha256|[0-9a-f]{64}/,
  );
  await expect.poll(() => server.log).toContain(file);

  await viewer.waitForFrames(viewer.getStats().frames + 10, 90_000);
  writeFileSync(file, whole);
  await publish(server, 'again');
  await (await watch(server, 'again')).waitForFrames(5, 90_000);
}, 400_000);
