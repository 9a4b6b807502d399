import { describe, expect, it } from 'vitest';
import { findExtension, parseRtp } from '../../media/rtp.ts';
import { SendStream, type ExtensionIds, type OutgoingPacket } from '../send-stream.ts';

const COLOUR = Uint8Array.of(1, 13, 1, 0x20);

function open(ids: ExtensionIds) {
  const sent: { ssrc: number; packet: Buffer }[] = [];
  const sendRtp = (header: Buffer, payload: Uint8Array, ssrc: number): number => {
    sent.push({ ssrc, packet: Buffer.concat([header, payload]) }); // as SRTP, it copies
    return header.length + payload.length;
  };
  const stream = new SendStream({ sendRtp }, 90_000, ids);
  const send = (more: Partial<OutgoingPacket>, nowUs = 0) =>
    stream.send(
      {
        payloadType: 96,
        rtxPayloadType: 97,
        marker: false,
        timestamp: 3000,
        mediaTime: 0,
        payload: Buffer.of(1, 2, 3),
        ...more,
      },
      stream.next,
      nowUs,
    );
  const received = () =>
    sent.map(({ ssrc, packet }) => {
      const parsed = parseRtp(packet);
      if (parsed === undefined) throw new Error(`not RTP: ${packet.toString('hex')}`);
      expect(parsed.ssrc).toBe(ssrc);
      const value = (id: number | undefined) => {
        const found = id === undefined ? undefined : findExtension(parsed, id);
        return found === undefined ? undefined : [...found];
      };
      return { ...parsed, sendTime: value(ids.absoluteSendTimeId), colour: value(ids.colourSpaceId) };
    });
  return { stream, send, received };
}

describe('SendStream’s header extensions', () => {
  it('carries a colour space on the packets that have one and on their retransmissions, on no other', () => {
    const { stream, send, received } = open({ absoluteSendTimeId: 2, colourSpaceId: 8 });
    const first = stream.next;
    send({}, 1_000_000);
    send({ marker: true, colourSpace: COLOUR }, 2_000_000);
    send({}, 3_000_000);
    stream.resend([first, first + 1], 4_000_000);
    const packets = received();
    expect(packets.map(({ colour }) => colour)).toEqual([undefined, [...COLOUR], undefined, undefined, [...COLOUR]]);
    // abs-send-time: 6.18 bits fixed point.
    expect(packets.map(({ sendTime }) => sendTime)).toEqual([1, 2, 3, 4, 4].map((second) => [second << 2, 0, 0]));
    expect(packets.map(({ payload }) => payload.length)).toEqual([3, 3, 3, 5, 5]);
    expect(packets.map(({ marker }) => marker)).toEqual([false, true, false, false, true]);
  });

  it('carries it without abs-send-time, and without RTX in the repeated packet', () => {
    const { stream, send, received } = open({ absoluteSendTimeId: undefined, colourSpaceId: 14 });
    const first = stream.next;
    send({ colourSpace: COLOUR, rtxPayloadType: undefined });
    stream.resend([first], 1_000_000);
    expect(received().map(({ colour }) => colour)).toEqual([[...COLOUR], [...COLOUR]]);
  });

  it('leaves it out where the viewer does not take it, and in the form that needs two-byte headers', () => {
    const without = open({ absoluteSendTimeId: 2, colourSpaceId: undefined });
    without.send({ colourSpace: COLOUR });
    expect(without.received().map(({ extensions }) => extensions?.length)).toEqual([4]);
    const hdr = open({ absoluteSendTimeId: undefined, colourSpaceId: 8 });
    for (const length of [0, 1, 3, 5, 28, 255]) hdr.send({ colourSpace: new Uint8Array(length) });
    expect(hdr.received().map(({ extensions }) => extensions)).toEqual(Array(6).fill(undefined));
  });
});
