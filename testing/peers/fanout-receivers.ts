import { connected, createPeer, negotiate, videoCodec } from './werift-loopback.ts';

/**
 * A child process of fanout.ts: holds many viewers that decrypt nothing. The RTP header of SRTP is in the clear, so
 * frames are counted by marker bit and timestamp; a receiver then costs a fraction of what the server spends on it.
 *
 * parent -> child { kind: 'answer', viewer, sdp } | { kind: 'join', viewer } | { kind: 'report' } | { kind: 'stop' }
 * child -> parent { kind: 'offer', viewer, sdp } | { kind: 'connected', viewer, joinMs } | { kind: 'report', ... }
 */

interface RawViewer {
  /** timestamp -> [arrival of the marker packet, packets seen] */
  readonly frames: Map<number, { endMs: number; packets: number }>;
  close(): Promise<void>;
}

const viewers = new Map<number, RawViewer>();
const answers = new Map<number, (sdp: string) => void>();

export type ToChild =
  | { kind: 'join'; viewer: number }
  | { kind: 'answer'; viewer: number; sdp: string }
  | { kind: 'report' }
  | { kind: 'stop' };
export type FromChild =
  | { kind: 'offer'; viewer: number; sdp: string }
  | { kind: 'connected'; viewer: number; joinMs: number }
  | { kind: 'failed'; viewer: number; message: string }
  | { kind: 'report'; frames: { viewer: number; arrivals: [timestamp: number, endMs: number, packets: number][] }[] };

const send = (message: FromChild) => process.send?.(message);

async function join(viewer: number): Promise<void> {
  const startedAtMs = performance.now();
  const peer = createPeer([videoCodec('H264', ['goog-remb', 'nack', 'nack pli'])], {}, 'remb');
  peer.addTransceiver('video', { direction: 'recvonly' });
  const frames: RawViewer['frames'] = new Map();
  viewers.set(viewer, { frames, close: () => peer.close() });
  await negotiate(peer, (offer) => {
    send({ kind: 'offer', viewer, sdp: offer });
    return new Promise((resolve) => answers.set(viewer, resolve));
  });
  await connected(peer, 20_000);
  const joinMs = performance.now() - startedAtMs;
  const { protocols } = peer.iceTransports[0]?.connection as unknown as {
    protocols: { transport?: { onData: (data: Buffer, address: unknown) => void } }[];
  };
  for (const { transport } of protocols) {
    if (transport === undefined) continue;
    const original = transport.onData;
    transport.onData = (data, address) => {
      const first = data[0] ?? 0;
      const second = data[1] ?? 0;
      if (first < 128 || first > 191 || (second >= 192 && second <= 223)) original(data, address);
      else onMedia(frames, data);
    };
  }
  send({ kind: 'connected', viewer, joinMs });
}

function onMedia(frames: RawViewer['frames'], data: Buffer): void {
  const timestamp = data.readUInt32BE(4);
  let frame = frames.get(timestamp);
  if (frame === undefined) frames.set(timestamp, (frame = { endMs: 0, packets: 0 }));
  frame.packets += 1;
  if ((data[1] as number) >= 128) frame.endMs = performance.timeOrigin + performance.now();
}

process.on('message', (message: ToChild) => {
  if (message.kind === 'join') {
    join(message.viewer).catch((error: unknown) =>
      send({ kind: 'failed', viewer: message.viewer, message: String(error) }),
    );
  } else if (message.kind === 'answer') {
    answers.get(message.viewer)?.(message.sdp);
  } else if (message.kind === 'report') {
    const frames = [...viewers].map(([viewer, { frames: seen }]) => ({
      viewer,
      arrivals: [...seen].map(([timestamp, { endMs, packets }]): [number, number, number] => [
        timestamp,
        endMs,
        packets,
      ]),
    }));
    send({ kind: 'report', frames });
  } else {
    void Promise.all([...viewers.values()].map((viewer) => viewer.close())).then(() => process.exit(0));
  }
});
