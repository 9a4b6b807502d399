import { describe, expect, it } from 'vitest';
import { offerText } from '../../../testing/offers.ts';
import { testRtcOptions } from '../../../testing/rtc-options.ts';
import { buildRtpHeader } from '../../media/rtp.ts';
import { PublisherConnection } from '../publisher-connection.ts';
import type { PeerTransport, TransportListener } from '../secure-transport.ts';

/** OBS's simulcast of three encodings, without sockets: its offer's ids are 1 for MID and 2 for RID. */
const MID = 1;
const RID = 2;

async function connect() {
  let listener: TransportListener | undefined;
  const local = { usernameFragment: 'abcd', password: 'p'.repeat(22), fingerprint: 'AA', setup: 'passive' as const };
  const description = { ...local, candidates: [], gatheringComplete: true };
  const transport: PeerTransport = {
    state: 'connected',
    secure: true,
    roundTripUs: undefined,
    counters: { packetsSent: 0, bytesSent: 0, packetsReceived: 0, bytesReceived: 0, packetsRefused: 0 },
    accept: async () => description,
    update: async () => description,
    addCandidate: () => undefined,
    sendRtp: () => 0,
    sendRtcp: () => undefined,
    tick: () => undefined,
    close: async () => undefined,
  };
  const received: string[] = [];
  const publisher = new PublisherConnection(
    {
      rtc: testRtcOptions(),
      createTransport: (events) => {
        listener = events;
        return transport;
      },
    },
    {
      onState: () => undefined,
      onAccessUnit: () => undefined,
      onVideoPacket: ({ payload }) => void received.push(Buffer.from(payload.subarray(1)).toString()),
      onAudioPacket: () => undefined,
      onDrop: () => undefined,
    },
    { onClosed: () => undefined, onListenerError: () => undefined, onPending: () => undefined },
  );
  const answer = await publisher.accept(offerText('whip-obs-simulcast3'));
  /** One packet of the encoding; `named` sends MID and RID, which senders leave out after a while. */
  const send = (rid: string, number: number, atUs: number, named = true): void => {
    const fields = { marker: true, payloadType: 96, sequenceNumber: number, timestamp: number * 3000 };
    const extensions = [
      { id: MID, value: Buffer.from('1') },
      { id: RID, value: Buffer.from(rid) },
    ];
    const header = buildRtpHeader({ ...fields, ssrc: 1000 + Number(rid) }, named ? extensions : []);
    listener?.onRtp(Buffer.concat([header, Buffer.from([0x41]), Buffer.from(`${rid}/${number}`)]), atUs);
  };
  return { answer, send, received };
}

describe('simulcast', () => {
  it('the answer takes all encodings, as OBS asks', async () => {
    const { answer } = await connect();
    expect(answer).toContain('a=simulcast:recv 0;1;2\r\n');
    expect(answer.match(/^a=rid:\d recv/gm)).toHaveLength(3);
    expect(answer).toContain('a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id');
  });

  it('one encoding is taken, the first of the sender’s preference, whichever comes first', async () => {
    const { send, received } = await connect();
    send('2', 0, 0);
    send('1', 0, 1000);
    send('0', 0, 2000);
    for (let number = 1; number < 4; number += 1) {
      for (const rid of ['1', '2', '0']) send(rid, number, number * 33_000, number < 3);
    }
    expect(received).toEqual(['2/0', '1/0', '0/0', '0/1', '0/2', '0/3']);
  });

  it('another takes over when it stays away, and gives way when it comes back', async () => {
    const { send, received } = await connect();
    send('0', 0, 0);
    send('1', 0, 1_000_000);
    send('1', 1, 2_100_000);
    send('2', 0, 2_200_000);
    send('0', 1, 3_000_000);
    send('1', 2, 3_100_000);
    expect(received).toEqual(['0/0', '1/1', '0/1']);
  });
});
