// A worker with an open stream and a chunk at work, which never ends by itself. The addon directly: workers of vitest's
// process have no TypeScript loader.
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { parentPort } from 'node:worker_threads';

const built = fileURLToPath(new URL('../../../../../build/addon/Release/flashvsr.node', import.meta.url));
const addon = createRequire(import.meta.url)(process.env.FLASHVSR_ADDON ?? built);
const engine = await addon.openEngine({ kind: 'synthetic', path: 'micro' }, { device: 'reference', threads: 2 });
const stream = await engine.openStream(
  { sourceWidth: 32, sourceHeight: 32, coldStartFrames: 1, gatherDeadlineMs: 0 },
  { onFrame() {}, onError() {}, onClosed() {} },
);
const luma = new Uint8Array(32 * 32);
const chroma = new Uint8Array(16 * 16);
for (let number = 0; number < 20; number += 1) {
  stream.push(luma, chroma, chroma, 32, 16, 32, 32, 'bt601', 'limited', number);
}
parentPort.postMessage('busy');
