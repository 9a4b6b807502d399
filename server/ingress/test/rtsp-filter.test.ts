import { describe, expect, it } from 'vitest';
import { RtspFilter, RtspRedirect } from '../child/rtsp-filter.ts';

const OK = 'RTSP/1.0 200 OK\r\nCSeq: 1\r\n';
const INTERLEAVED = Buffer.concat([Buffer.from([0x24, 0, 0, 4]), Buffer.from('\r\n\r\n')]);

function filtered(bytes: Buffer, piece = bytes.length): string {
  const filter = new RtspFilter();
  const out: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += piece) out.push(filter.push(bytes.subarray(at, at + piece)));
  return Buffer.concat(out).toString('latin1');
}

describe('passes', () => {
  const talk = Buffer.concat([
    Buffer.from(`${OK}Content-Length: 11\r\n\r\nRTSP/1.0 30`),
    INTERLEAVED,
    Buffer.from(`${OK}\r\n`),
    INTERLEAVED,
    Buffer.from('OPTIONS * RTSP/1.0\r\nCSeq: 2\r\n\r\n'),
  ]);

  it.each([1, 3, 1000])('answers, their bodies and interleaved packets as they are, in pieces of %i', (piece) => {
    expect(filtered(talk, piece)).toBe(talk.toString('latin1'));
  });
});

it('a Transport header loses the addresses that libav would send to', () => {
  const head = `${OK}Transport: RTP/AVP;unicast;client_port=5000-5001;source=10.0.0.1;destination=10.0.0.2;server_port=6000-6001\r\n\r\n`;
  expect(filtered(Buffer.from(head))).toBe(
    `${OK}Transport: RTP/AVP;unicast;client_port=5000-5001;server_port=6000-6001\r\n\r\n`,
  );
});

it.each(['301 Moved', '302 Found', '305 Use Proxy'])('%s is handed to the caller', (status) => {
  const answer = Buffer.from(`RTSP/1.0 ${status}\r\nLocation: rtsp://10.0.0.1/\r\n\r\n`);
  for (const piece of [1, 1000]) {
    let thrown: unknown;
    try {
      filtered(answer, piece);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(RtspRedirect);
    expect(thrown).toMatchObject({ location: 'rtsp://10.0.0.1/' });
  }
});

it.each([
  ['another protocol', 'HTTP/1.1 200 OK\r\n\r\n'],
  ['a redirect as request', 'REDIRECT rtsp://a/ RTSP/1.0\r\nLocation: rtsp://10.0.0.1/\r\n\r\n'],
  // libav takes these for the end of the head, and reads on.
  ['a bare line feed', `${OK}X: 1\n\nRTSP/1.0 302 Found\r\nLocation: rtsp://10.0.0.1/\r\n\r\n`],
  ['a header that begins an interleaved packet', `${OK}$: 1\r\n\r\n`],
  ['a folded header', `${OK}X: 1\r\n Content-Length: 4\r\n\r\n`],
  ['two lengths', `${OK}Content-Length: 4\r\nContent-Length: 0\r\n\r\n`],
  ['a length in another notation', `${OK}Content-Length: 0x10\r\n\r\n`],
  ['a negative length', `${OK}Content-Length: -1\r\n\r\n`],
  ['multicast', `${OK}Transport: RTP/AVP;multicast;destination=10.0.0.1;port=5000\r\n\r\n`],
  ['a head without end', `${OK}${'X: 1\r\n'.repeat(6000)}`],
])('%s ends the connection', (_what, head) => {
  expect(() => filtered(Buffer.from(head))).toThrow(/RTSP|multicast/);
});
