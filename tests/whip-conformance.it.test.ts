import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { offerText } from '../testing/offers.ts';
import { WhipClient } from '../testing/whip-client.ts';
import { WhipServer } from '../testing/whip-server.ts';

/**
 * RFC 9725 and the WHEP draft by paragraph, as far as the answer comes from the whole server: SDP, ICE, sessions. What HTTP alone
 * decides is in server/http/whip/test, what the SDP alone decides in server/rtc/sdp/test, under the same numbers.
 */
let server: WhipServer;
const sessions: WhipClient[] = [];

beforeAll(async () => {
  server = await WhipServer.start();
});
afterEach(async () => {
  for (const session of sessions.splice(0)) await session.delete();
  expect(server.app.sessions.size).toBe(0);
});
afterAll(() => server.close());

const EXAMPLE = offerText('rfc9725-example');
const PLAYER = offerText('whep-draft-example');

async function open(path: string, offer: string, bearer?: string): Promise<WhipClient> {
  const client = await WhipClient.post(`${server.url}${path}`, offer, bearer);
  sessions.push(client);
  return client;
}

const publish = (bearer?: string) => open('/whip/conformance', EXAMPLE, bearer);
const play = (offer = PLAYER) => open('/whep/conformance?wait=1', offer);

async function refused(path: string, body: string, type = 'application/sdp') {
  const response = await fetch(server.url + path, { method: 'POST', headers: { 'content-type': type }, body });
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(response.headers.get('location')).toBeNull();
  return response.status;
}

const directions = (answer: string) =>
  answer.match(/^a=(sendonly|recvonly|sendrecv|inactive)\r$/gm)?.map((line) => line.trim());
const user = (ufrag: string, password = 'p'.repeat(24)) => `a=ice-ufrag:${ufrag}\r\na=ice-pwd:${password}\r\n`;
const OWN_USER = user('EsAw', 'bP+XJMM09aR8AiX1jdukzR6Y');
const candidates = (...lines: string[]) =>
  `${OWN_USER}m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n${lines.map((line) => `a=candidate:${line}\r\n`).join('')}`;

describe('RFC 9725', () => {
  it('4.2 the answer receives and does not send', async () => {
    expect(directions((await publish()).answer)).toEqual(['a=recvonly', 'a=recvonly']);
  });

  it.each(['recvonly', 'inactive'])('4.2 an offer that is %s is 422', async (direction) => {
    expect(await refused('/whip/conformance', EXAMPLE.replaceAll('a=sendonly', `a=${direction}`))).toBe(422);
  });

  it('4.2 a malformed offer is 400, another type 415', async () => {
    expect(await refused('/whip/conformance', EXAMPLE.replace('v=0', 'v=1'))).toBe(400);
    expect(await refused('/whip/conformance', EXAMPLE, 'text/plain')).toBe(415);
  });

  it('4.2 DELETE is 200 and ends the session, whose address is then 404', async () => {
    const session = await publish();
    expect(await session.delete()).toBe(200);
    expect(server.app.sessions.size).toBe(0);
    expect(await session.delete()).toBe(404);
  });

  it('4.3.1 PATCH requests may overlap', async () => {
    const session = await publish();
    const body = (n: number) => candidates(`1 1 udp 1 127.0.0.1 ${40_000 + n} typ host`);
    const answers = await Promise.all([1, 2, 3, 4, 5].map((n) => session.patch(body(n))));
    expect(answers.map(({ status }) => status)).toEqual([204, 204, 204, 204, 204]);
  });

  it('4.3.2 the answer has all of our candidates', async () => {
    const { answer } = await publish();
    expect(answer).toMatch(/^a=candidate:\S+ 1 udp \d+ 127\.0\.0\.1 \d+ typ host\r$/m);
    expect(answer).toMatch(/^a=end-of-candidates\r$/m);
  });

  it.each([
    ['of TCP', '1 1 tcp 1 127.0.0.1 9 typ host tcptype active'],
    ['of IPv6', '1 1 udp 1 ::1 5000 typ host'],
    ['with a name for an address', '1 1 udp 1 0a1b.local 5000 typ host'],
    ['of another component', '1 2 udp 1 127.0.0.1 5000 typ host'],
    ['with its prefix twice (MediaMTX)', 'candidate:1 1 udp 1 127.0.0.1 5000 typ host'],
    ['that is none', 'nonsense'],
  ])('4.3.2 a candidate %s is 204 without a body', async (_what, line) => {
    expect(await (await publish()).patch(candidates(line))).toEqual({ status: 204, body: '' });
  });

  it('4.3.3 an ICE restart answers with options of the answer, another user and tag; the tag before is 412', async () => {
    const session = await publish();
    const [before, ufrag] = [session.etag, /^a=ice-ufrag:(.*)\r$/m.exec(session.answer)?.[1] ?? ''];
    const { status, body } = await session.patch(user('later'), '*');
    expect(status).toBe(200);
    expect(session.etag).not.toBe(before);
    expect(body).not.toContain(`a=ice-ufrag:${ufrag}\r\n`);
    const optionsOf = (sdp: string) => [...new Set(sdp.match(/^a=ice-(options:.*|lite)\r$/gm))];
    expect(optionsOf(body)).toEqual(optionsOf(session.answer));
    expect((await session.patch(candidates('1 1 udp 1 127.0.0.1 5000 typ host'), before)).status).toBe(412);
  });

  it('4.3.3 one that fails leaves the session as it was', async () => {
    const session = await publish();
    expect((await session.patch(user('x'), '*')).status).toBe(400);
    expect((await session.patch(candidates('1 1 udp 1 127.0.0.1 5000 typ host'))).status).toBe(204);
  });

  it('4.4.2 and 4.4.3 two MediaStreams, or sound that is not Opus, are 422: nothing is left out silently', async () => {
    expect(await refused('/whip/conformance', EXAMPLE.replace(/a=msid:\S+/, 'a=msid:another'))).toBe(422);
    expect(await refused('/whip/conformance', EXAMPLE.replace('opus/48000/2', 'PCMU/8000'))).toBe(422);
  });

  it('4.7 a session that was made with a token is 401 without it, with a challenge, and 403 with another', async () => {
    const { session } = await publish('token-of-the-session');
    for (const method of ['PATCH', 'DELETE', 'GET', 'OPTIONS']) {
      const response = await fetch(session, { method });
      expect([method, response.status, response.headers.get('www-authenticate')]).toEqual([
        method,
        401,
        expect.stringMatching(/^Bearer/),
      ]);
      expect((await fetch(session, { method, headers: { authorization: 'Bearer guess' } })).status).toBe(403);
    }
  });
});

describe('the WHEP draft', () => {
  it('4.2 the answer sends and does not receive, with a=msid', async () => {
    const { answer } = await play();
    expect(new Set(directions(answer))).toEqual(new Set(['a=sendonly']));
    expect(answer).toMatch(/^a=msid:\S+ \S+\r$/m);
  });

  it.each(['sendonly', 'inactive'])('4.2 an offer that is %s is 422', async (direction) => {
    expect(await refused('/whep/conformance?wait=1', PLAYER.replaceAll('a=recvonly', `a=${direction}`))).toBe(422);
  });

  it('4.2 without a publisher it is 409', async () => {
    expect(await refused('/whep/conformance', PLAYER)).toBe(409);
  });

  it('4.2 there is no counter-offer, so PATCH takes no application/sdp', async () => {
    const { session, etag } = await play();
    const headers = { 'content-type': 'application/sdp', 'if-match': etag };
    expect((await fetch(session, { method: 'PATCH', headers, body: PLAYER })).status).toBe(415);
  });
});
