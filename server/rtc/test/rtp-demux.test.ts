import { describe, expect, it } from 'vitest';
import { buildRtpHeader, parseRtp, type RtpExtension, type RtpPacket } from '../../media/rtp.ts';
import { RtpDemux } from '../rtp-demux.ts';

const [MID, RID, REPAIRED] = [1, 2, 3];
const text = (id: number, value: string): RtpExtension => ({ id, value: Buffer.from(value) });

function packet(ssrc: number, payloadType: number, extensions: readonly RtpExtension[] = []): RtpPacket {
  const header = buildRtpHeader({ marker: false, payloadType, sequenceNumber: 1, timestamp: 1, ssrc }, extensions);
  const parsed = parseRtp(Buffer.concat([header, Buffer.from([1])]));
  if (parsed === undefined) throw new Error('not RTP');
  return parsed;
}

function open(ssrcs: Readonly<Record<string, readonly number[]>> = {}) {
  const demux = new RtpDemux();
  const tracks = ['a', 'b', 'c'].map((id) => ({
    id,
    ssrcs: ssrcs[id] ?? [],
    payloadTypes: id === 'c' ? [111] : [96, 97],
  }));
  demux.configure(tracks, { midId: MID, ridId: RID, repairedRidId: REPAIRED });
  return { demux, tracks };
}

describe('RtpDemux (RFC 8843 section 9.2)', () => {
  it('goes by MID, and remembers the SSRC for packets without one', () => {
    const { demux } = open();
    expect(demux.route(packet(1, 96), 0)).toBeUndefined(); // payload type 96 is of two tracks
    expect(demux.route(packet(1, 96, [text(MID, 'b')]), 0)?.track).toBe('b');
    expect(demux.route(packet(1, 96), 0)?.track).toBe('b');
    expect(demux.route(packet(1, 96, [text(MID, 'a')]), 0)?.track).toBe('a'); // a sender may move an SSRC
    expect(demux.route(packet(1, 97), 0)?.track).toBe('a');
  });

  it('refuses a MID that no track has', () => {
    const { demux } = open();
    expect(demux.route(packet(1, 111, [text(MID, 'x')]), 0)).toBeUndefined();
    expect(demux.unknown).toBe(1);
    expect(demux.size).toBe(0);
  });

  it('goes by a=ssrc, and by a payload type that only one track has', () => {
    const { demux } = open({ a: [10, 11] });
    expect(demux.route(packet(11, 97), 0)?.track).toBe('a');
    expect(demux.route(packet(99, 111), 0)?.track).toBe('c');
  });

  it('names the encoding by RID and repaired RID (RFC 8852)', () => {
    const { demux } = open();
    expect(demux.route(packet(1, 96, [text(MID, 'a'), text(RID, 'hi')]), 0)).toMatchObject({ track: 'a', rid: 'hi' });
    expect(demux.route(packet(1, 96), 0)).toMatchObject({ track: 'a', rid: 'hi' });
    expect(demux.route(packet(2, 97, [text(MID, 'a'), text(REPAIRED, 'hi')]), 0)).toMatchObject({ rid: 'hi' });
  });

  it('forgets the SSRCs of a track that a later description removes and keeps the others', () => {
    const { demux, tracks } = open();
    demux.route(packet(1, 96, [text(MID, 'a')]), 0);
    demux.route(packet(2, 96, [text(MID, 'b')]), 0);
    demux.configure(
      tracks.filter(({ id }) => id !== 'a'),
      { midId: MID, ridId: RID, repairedRidId: REPAIRED },
    );
    expect(demux.route(packet(2, 96), 0)?.track).toBe('b');
    expect(demux.size).toBe(1);
    expect(demux.route(packet(1, 111), 0)?.track).toBe('c');
  });

  it('remembers 64 SSRCs, those in use among them', () => {
    const { demux } = open();
    for (let ssrc = 1; ssrc <= 10_000; ssrc += 1) {
      demux.route(packet(7_000_000, 96, [text(MID, 'a')]), ssrc * 10);
      demux.route(packet(ssrc, 96, [text(MID, 'b')]), ssrc * 10 + 1);
    }
    expect(demux.size).toBe(64);
    expect(demux.route(packet(7_000_000, 96), 1_000_000)?.track).toBe('a');
  });
});
