import { describe, expect, it } from 'vitest';
import { testRtcOptions } from '../../../testing/rtc-options.ts';
import { parseRtcp } from '../../media/rtcp.ts';
import { packetize } from '../../media/packetizer.ts';
import { traceAt } from '../../media/steps.ts';
import type { AccessUnit, EncodedFrame } from '../../media/types.ts';
import { PublisherConnection } from '../publisher-connection.ts';
import type { TrackLayout } from '../sdp/viewer-plan.ts';
import type { PeerTransport, TransportListener } from '../secure-transport.ts';
import { ViewerConnection } from '../viewer-connection.ts';

/** Connections without sockets: what one sends is what the other receives. */

class FakeTransport implements PeerTransport {
  state = 'connected' as const;
  readonly secure = true;
  readonly roundTripUs = undefined;
  readonly counters = { packetsSent: 0, bytesSent: 0, packetsReceived: 0, bytesReceived: 0, packetsRefused: 0 };
  readonly listener: TransportListener;
  updates = 0;
  refuses: Error | undefined;
  peer: FakeTransport | undefined;
  /** Ordinals of packets that the link keeps; they lie in `kept`. */
  loses: readonly number[] = [];
  readonly kept: Buffer[] = [];
  readonly rtcp: Buffer[] = [];

  constructor(listener: TransportListener) {
    this.listener = listener;
  }

  accept() {
    const local = { usernameFragment: 'abcd', password: 'p'.repeat(22), fingerprint: 'AA', setup: 'passive' as const };
    return Promise.resolve({ ...local, candidates: [], gatheringComplete: true });
  }
  update() {
    if (this.refuses !== undefined) return Promise.reject(this.refuses);
    this.updates += 1;
    return this.accept();
  }
  addCandidate(): void {
    // Nothing to check.
  }
  sendRtp(header: Buffer, payload: Uint8Array): number {
    this.counters.packetsSent += 1;
    const packet = Buffer.concat([header, payload]);
    if (this.loses.includes(this.counters.packetsSent)) this.kept.push(packet);
    else this.peer?.listener.onRtp(packet, 0);
    return header.length + payload.length;
  }
  sendRtcp(...compound: Buffer[]): void {
    this.rtcp.push(...compound);
    for (const packet of compound) this.peer?.listener.onRtcp(packet, 0);
  }
  tick(): void {
    // No sockets, no silence.
  }
  close(): Promise<void> {
    this.listener.onState('closed');
    return Promise.resolve();
  }
  toJSON(): object {
    return { state: this.state };
  }
}

interface Section {
  readonly mid: string;
  /** Stopped transceivers keep their section, with port 0. */
  readonly stopped?: boolean;
  readonly ssrc?: number;
}

function offer(direction: 'sendonly' | 'recvonly', sections: readonly Section[]): string {
  const lines = ['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0'];
  lines.push(`a=group:BUNDLE ${sections.flatMap(({ mid, stopped }) => (stopped === true ? [] : [mid])).join(' ')}`);
  for (const { mid, stopped, ssrc } of sections) {
    lines.push(`m=video ${stopped === true ? 0 : 9} UDP/TLS/RTP/SAVPF 96 97`, 'c=IN IP4 0.0.0.0', `a=mid:${mid}`);
    lines.push(`a=${stopped === true ? 'inactive' : direction}`, 'a=rtcp-mux', 'a=ice-ufrag:abcd');
    lines.push(
      `a=ice-pwd:${'p'.repeat(24)}`,
      `a=fingerprint:sha-256 ${Array(32).fill('AA').join(':')}`,
      'a=setup:actpass',
    );
    lines.push('a=rtpmap:96 VP8/90000', 'a=rtcp-fb:96 nack', 'a=rtpmap:97 rtx/90000', 'a=fmtp:97 apt=96');
    if (ssrc !== undefined) lines.push(`a=ssrc:${ssrc} cname:x`);
  }
  return `${lines.join('\r\n')}\r\n`;
}

const BY_MID: TrackLayout = (_kind, _ordinal, mid) => ({ id: mid, content: 'encoded' });
const OWNER = {
  onClosed: () => undefined,
  onListenerError: (error: unknown) => {
    throw error;
  },
  onPending: () => undefined,
};

/** A VP8 keyframe or inter frame whose bytes name its track and number. */
function frame(track: string, number: number): EncodedFrame {
  const keyframe = number === 0;
  const start = keyframe ? [0x10, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0] : [0x11, 0, 0];
  return {
    codec: 'VP8',
    rendition: 'full',
    data: Buffer.concat([Buffer.from(start), Buffer.from(`${track}/${number}`.padEnd(3000, '.'))]),
    mediaTime: 3000 * number,
    keyframe,
    width: 16,
    height: 16,
    trace: traceAt(0, 0),
  };
}

async function connect(mids: readonly string[]) {
  const transports: FakeTransport[] = [];
  const createTransport = (listener: TransportListener) => {
    const transport = new FakeTransport(listener);
    transports.push(transport);
    return transport;
  };
  const rtc = testRtcOptions();
  const requests: string[] = [];
  const sender = new ViewerConnection(
    { rtc, maxOutput: { width: 16, height: 16 }, layout: BY_MID, createTransport },
    { onState: () => undefined, onKeyframeRequest: (track) => requests.push(track) },
    OWNER,
  );
  const received: { track: string; unit: AccessUnit }[] = [];
  const drops: string[] = [];
  const receiver = new PublisherConnection(
    { rtc, maxVideoTracks: 8, createTransport },
    {
      onState: () => undefined,
      onAccessUnit: (unit, track) => received.push({ track, unit }),
      onVideoPacket: () => undefined,
      onAudioPacket: () => undefined,
      onDrop: (reason, _count, track) => drops.push(`${track} ${reason}`),
    },
    OWNER,
  );
  const [sending, receiving] = transports as [FakeTransport, FakeTransport];
  sending.peer = receiving;
  receiving.peer = sending;
  const ssrcOf = (answer: string, mid: string) => {
    const section = answer.split('\r\nm=').find((part) => part.includes(`a=mid:${mid}\r\n`)) ?? '';
    return Number(/a=ssrc:(\d+)/.exec(section)?.[1]);
  };
  const describeAll = async (sections: readonly Section[], first: boolean) => {
    const asked = offer('recvonly', sections);
    const answer = await (first ? sender.accept(asked) : sender.renegotiate(asked));
    const sends = sections.map((section) => ({ ...section, ssrc: ssrcOf(answer, section.mid) || 1 }));
    const offered = offer('sendonly', sends);
    return first ? receiver.accept(offered) : receiver.renegotiate(offered);
  };
  await describeAll(
    mids.map((mid) => ({ mid })),
    true,
  );
  const send = (track: string, number: number) => {
    sender.sendFrame(track, packetize(frame(track, number)));
    sender.pump(Number.MAX_SAFE_INTEGER);
  };
  const texts = () =>
    received.splice(0).map(({ track, unit }) => {
      const text = Buffer.from(unit.data).toString('latin1');
      return `${track}: ${/\w+\/\d+/.exec(text)?.[0] ?? 'nothing'}`;
    });
  return { sender, receiver, sending, receiving, describeAll, send, texts, drops, requests };
}

describe('connections with several tracks', () => {
  it('a peer with three video tracks adds one and removes one, and each frame reaches its track', async () => {
    const { describeAll, send, texts, drops, sender, receiver } = await connect(['x', 'y', 'z']);
    for (const track of ['x', 'y', 'z']) send(track, 0);
    expect(texts()).toEqual(['x: x/0', 'y: y/0', 'z: z/0']);

    const answer = await describeAll([{ mid: 'x' }, { mid: 'y', stopped: true }, { mid: 'z' }, { mid: 'w' }], false);
    expect(answer.match(/^m=video \d+/gm)).toEqual(['m=video 9', 'm=video 0', 'm=video 9', 'm=video 9']);
    expect(answer).toMatch(/^o=- \d+ 2 /m);
    for (const track of ['w', 'y', 'z', 'x']) send(track, track === 'w' ? 0 : 1);
    // The kept tracks go on without a keyframe: their sequence numbers and SSRCs are the old ones.
    expect(texts()).toEqual(['w: w/0', 'z: z/1', 'x: x/1']);
    expect(drops).toEqual([]);

    const dumped = JSON.parse(JSON.stringify([sender, receiver])) as { tracks: { id: string }[] }[];
    expect(dumped.map(({ tracks }) => tracks.map(({ id }) => id))).toEqual([
      ['x', 'z', 'w'],
      ['x', 'z', 'w'],
    ]);
  });

  it('feedback reaches the track it is about', async () => {
    const { receiver, send, requests, sender, sending } = await connect(['x', 'y', 'z']);
    for (const track of ['x', 'y', 'z']) send(track, 0);
    receiver.requestKeyframe('y');
    expect(requests).toEqual(['y']);
    receiver.requestKeyframe();
    expect(requests.sort()).toEqual(['x', 'y', 'z']); // y was asked within the last half second
    expect(sender.getStats().keyframeRequestsReceived).toBe(3);
    receiver.tick(2_000_000);
    expect(sending.rtcp).toEqual([]);
    sender.tick(2_000_000);
    expect(sending.rtcp.length).toBe(6); // a sender report and a source description for each
  });

  it('a lost packet that comes again with its own SSRC and number, as OBS sends it, completes its frame; repetitions change nothing', async () => {
    const { receiver, receiving, sending, send, texts, drops } = await connect(['x']);
    receiving.peer = undefined; // a sender without RTX: what it repeats is delivered below
    sending.loses = [2];
    send('x', 0);
    expect(texts()).toEqual([]);
    receiver.tick(10_000);
    const [nack] = receiving.rtcp.flatMap((packet) => parseRtcp(packet));
    expect(nack).toMatchObject({ kind: 'nack' });
    for (const packet of sending.kept)
      for (let times = 0; times < 3; times += 1) receiving.listener.onRtp(packet, 11_000);
    send('x', 1);
    for (const packet of sending.kept) receiving.listener.onRtp(packet, 12_000);
    expect(texts()).toEqual(['x: x/0', 'x: x/1']);
    expect(drops).toEqual([]);
    expect(receiver.getStats().packetsLost).toBe(0);
  });

  it('a transport that refuses a description leaves the tracks as they are', async () => {
    const { describeAll, sending, send, texts } = await connect(['x', 'y']);
    sending.refuses = new Error('too many restarts');
    await expect(describeAll([{ mid: 'x' }], false)).rejects.toThrow('too many restarts');
    send('y', 0);
    expect(texts()).toEqual(['y: y/0']);
  });

  it('an ICE restart must keep the tracks; a renegotiation must keep the codecs of those that stay', async () => {
    const { sender, receiver } = await connect(['x', 'y']);
    const [more, fewer] = [[{ mid: 'x' }, { mid: 'y' }, { mid: 'z' }], [{ mid: 'x' }]];
    for (const sections of [more, fewer]) {
      await expect(sender.restart(offer('recvonly', sections))).rejects.toMatchObject({ code: 'sdp.unsupported' });
      await expect(receiver.restart(offer('sendonly', sections))).rejects.toMatchObject({ code: 'sdp.unsupported' });
    }
    const h264 = offer('recvonly', [{ mid: 'x' }])
      .replace('VP8/90000', 'H264/90000')
      .replace('a=rtcp-fb:96 nack', 'a=fmtp:96 packetization-mode=1;profile-level-id=42e01f');
    await expect(sender.renegotiate(h264)).rejects.toMatchObject({ code: 'sdp.unsupported' });
  });

  it('an ICE restart by a fragment keeps the tracks that a description brought meanwhile, and refuses short credentials', async () => {
    const { sender, receiver, sending, describeAll } = await connect(['x']);
    const parameters = { usernameFragment: 'wxyz', password: 'q'.repeat(22), candidates: [] };
    const restarts = [sender.restartIce(parameters), receiver.restartIce(parameters)];
    const both = [{ mid: 'x' }, { mid: 'y' }];
    await describeAll(both, false);
    await Promise.all(restarts);
    const { updates } = sending;
    await sender.restart(offer('recvonly', both));
    await receiver.restart(offer('sendonly', both));
    expect(sending.updates).toBe(updates + 1);
    for (const peer of [sender, receiver]) {
      const short = peer.restartIce({ ...parameters, password: 'short' });
      await expect(short).rejects.toMatchObject({ code: 'sdp.invalid' });
    }
    expect(sending.updates).toBe(updates + 1);
  });

  it('refuse more tracks than they were made for, by number', async () => {
    const { receiver } = await connect(['x']);
    const sections = Array.from({ length: 9 }, (_, at) => ({ mid: `m${at}` }));
    await expect(receiver.renegotiate(offer('sendonly', sections))).rejects.toThrow(/9 video tracks; 8/);
  });

  it('tracks of a closed transport deliver and send nothing more', async () => {
    const { receiver, send, sender, sending, texts } = await connect(['x']);
    send('x', 0);
    expect(texts()).toEqual(['x: x/0']);
    await receiver.close();
    send('x', 1);
    expect(texts()).toEqual([]);
    await sender.close();
    const packets = sending.counters.packetsSent;
    sender.pump(Number.MAX_SAFE_INTEGER);
    expect(sending.counters.packetsSent).toBe(packets);
  });

  it('packets of unknown SSRCs go nowhere and are counted', async () => {
    const { receiver, receiving, texts } = await connect(['x', 'y']);
    for (let ssrc = 1; ssrc <= 1000; ssrc += 1) {
      const packet = Buffer.alloc(20);
      packet[0] = 0x80;
      packet[1] = 96;
      packet.writeUInt32BE(0x7000_0000 + ssrc, 8);
      receiving.listener.onRtp(packet, 0);
    }
    expect(texts()).toEqual([]);
    const dumped = JSON.parse(JSON.stringify(receiver)) as { packetsOfNoTrack: number; ssrcs: number };
    expect(dumped).toMatchObject({ packetsOfNoTrack: 1000, ssrcs: 2 });
  });
});
