import { createServer, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { parseArgs } from 'node:util';
import { quantile } from '../../server/media/quantile.ts';
import { ServerProcess, sleep } from '../../testing/server-process.ts';
import { provenance } from '../machine.ts';
import { markdownTable } from '../table.ts';
import { connectPeers, type ConnectPeer, type Setup } from './peers.ts';

/**
 * `npm run bench:connect`: from a POST's first byte at the server to the first media packet that it accepts, for WHIP clients of
 * other makers and every DTLS role, on loopback: the first session of a fresh server, then warm ones. Prints a Markdown table.
 */
const { values } = parseArgs({ options: { warm: { type: 'string', default: '20' } } });

/** What this needs of a peer in /debug/state. */
interface PeerState {
  readonly transport: {
    readonly connecting: {
      readonly beganAt: string;
      readonly pathMs?: number;
      readonly secureMs?: number;
      readonly mediaMs?: number;
    };
  };
}

interface Steps {
  readonly offerMs: number;
  readonly pathMs: number;
  readonly secureMs: number;
  readonly mediaMs: number;
}

/** Forwards to the server and notes when a POST came, by the clock of this process, which is the server's, too. */
async function stopwatch(target: string) {
  let postedAtMs = 0;
  const proxy = createServer((incoming, outgoing) => {
    if (incoming.method === 'POST') postedAtMs = performance.timeOrigin + performance.now();
    const { method, url, headers } = incoming;
    const forwarded = request(new URL(url ?? '/', target), { method, headers }, (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers);
      response.pipe(outgoing);
    });
    forwarded.on('error', () => outgoing.destroy());
    incoming.pipe(forwarded);
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    postedAtMs: () => postedAtMs,
    close: () => {
      proxy.closeAllConnections();
      proxy.close();
    },
  };
}

async function measure(server: ServerProcess, peer: ConnectPeer, setup: Setup): Promise<Steps> {
  const watch = await stopwatch(server.url);
  const stop = await peer.publish(`${watch.url}/whip/connect`, setup);
  try {
    for (let attempt = 0; attempt < 200; attempt += 1) {
      const state = (await (await server.get('/debug/state')).json()) as { rtc: { peers: readonly PeerState[] } };
      const connecting = state.rtc.peers[0]?.transport.connecting;
      const { beganAt = '', pathMs = 0, secureMs = 0, mediaMs } = connecting ?? {};
      if (mediaMs !== undefined) {
        const offerMs = Date.parse(beganAt) - watch.postedAtMs();
        return { offerMs, pathMs: offerMs + pathMs, secureMs: offerMs + secureMs, mediaMs: offerMs + mediaMs };
      }
      await sleep(25);
    }
    throw new Error(`${peer.name}, ${setup}: no media within 5 s`);
  } finally {
    await stop();
    watch.close();
  }
}

const start = () => ServerProcess.start({ args: ['--limits.maxWhipRequestsPerSecond', '100'] });
const shown = (ms: number) => Math.round(ms).toString();

const { peers, close } = await connectPeers();
/** The clients' own first session is not what is measured. */
const practice = await start();
for (const peer of peers) await measure(practice, peer, 'passive');
await practice.kill();
const rows: string[][] = [
  ['client', 'a=setup', 'first', 'warm, median', 'warm, slowest', 'offer read', 'path', 'DTLS', 'media'],
];
for (const peer of peers) {
  for (const setup of peer.setups) {
    const server = await start();
    try {
      const first = await measure(server, peer, setup);
      const warm: Steps[] = [];
      for (let count = 0; count < Number(values.warm); count += 1) warm.push(await measure(server, peer, setup));
      const of = (step: keyof Steps) => warm.map((steps) => steps[step]);
      const steps = (['offerMs', 'pathMs', 'secureMs', 'mediaMs'] as const).map((step) =>
        shown(quantile(of(step), 0.5)),
      );
      const total = of('mediaMs');
      rows.push([
        peer.name,
        setup,
        shown(first.mediaMs),
        shown(quantile(total, 0.5)),
        shown(Math.max(...total)),
        ...steps,
      ]);
      console.error(rows.at(-1)?.join('  '), JSON.stringify(first));
    } finally {
      await server.kill();
    }
  }
}
close();
const { date, commit, machine, node } = provenance('npm run bench:connect');
console.log(`ms from POST; ${machine}, Node ${node}, ${commit}, ${date}\n\n${markdownTable(rows)}`);
process.exit(0);
