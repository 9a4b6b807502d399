import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RelayDouble, type RelayReply } from '../../../testing/relay-double.ts';
import { until } from '../../../testing/until.ts';
import { parseSdpFragment } from '../../http/whip/sdp-fragment.ts';
import { TargetPolicy } from '../../access/target-policy.ts';
import { postOffer, PostError, type PostRequest } from '../whip-client.ts';

/** The HTTP side against a strict relay and every way in which a target can be wrong; sockets on 127.0.0.1, no media. */

const OFFER = [
  ...['v=0', 'o=- 1 1 IN IP4 127.0.0.1', 's=-', 't=0 0', 'a=group:BUNDLE 0', 'm=video 9 UDP/TLS/RTP/SAVPF 96'],
  ...['a=sendonly', 'a=rtcp-mux', 'a=setup:actpass', 'a=fingerprint:sha-256 AA', 'a=ice-ufrag:abcd'],
  ...['a=ice-pwd:efgh', 'a=mid:0'],
  ...['a=candidate:1 1 udp 1 127.0.0.1 5000 typ host', 'a=end-of-candidates', ''],
].join('\r\n');
const ANSWER = 'v=0\r\n';
const SDP = { 'content-type': 'application/sdp' };
const TOKEN = 'secret-token-7';

describe('a WHIP client', () => {
  let relay: RelayDouble;
  let other: RelayDouble;
  const policy = new TargetPolicy({ allow: ['127.0.0.1/32'] });

  beforeEach(async () => {
    relay = await RelayDouble.start({ take: async () => ANSWER, bearer: TOKEN });
    other = await RelayDouble.start({ take: async () => ANSWER });
  });
  afterEach(async () => {
    await Promise.all([relay.close(), other.close()]);
  });

  const post = (changes: Partial<PostRequest> = {}) =>
    postOffer({ url: relay.url, offer: OFFER, bearer: TOKEN, policy, ...changes });

  async function failure(changes: Partial<PostRequest> = {}): Promise<PostError> {
    const thrown = await post(changes).then(
      () => undefined,
      (error: unknown) => error,
    );
    if (!(thrown instanceof PostError)) throw new Error('it was not refused');
    expect(JSON.stringify(thrown.error.toJSON()), 'secrets').not.toMatch(/secret-token|live\/whip|streamkey/);
    return thrown;
  }

  it('satisfies a strict relay: posts, finds the session by its relative Location, deletes it once', async () => {
    const session = await post();
    expect(session.answer).toBe(ANSWER);
    expect([...relay.sessions]).toEqual(['/live/whip/1']);
    await Promise.all([session.end(), session.end()]);
    expect(relay.sessions.size).toBe(0);
    expect(relay.requests.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'POST /live/whip',
      'DELETE /live/whip/1',
    ]);
    expect(relay.requests.every(({ headers }) => headers.authorization === `Bearer ${TOKEN}`)).toBe(true);
    expect(relay.requests[0]?.headers['content-type']).toBe('application/sdp');
    expect(relay.requests[0]?.body).toBe(OFFER);
  });

  it('takes a type with parameters, and goes on without Location', async () => {
    relay.script = () => ({ status: 201, headers: { 'content-type': 'Application/SDP; charset=utf-8' }, body: ANSWER });
    const session = await post();
    await session.end();
    expect(relay.requests).toHaveLength(1);
  });

  it.each([301, 302, 307, 308])('follows %i with body and token within the origin', async (status) => {
    relay.script = ({ path }) =>
      path === '/live/whip' ? { status, headers: { location: '../elsewhere?key=streamkey' } } : undefined;
    const session = await post();
    expect(relay.requests.map(({ method, path, body }) => [method, path, body])).toEqual([
      ['POST', '/live/whip', OFFER],
      ['POST', '/elsewhere?key=streamkey', OFFER],
    ]);
    expect(relay.requests[1]?.headers.authorization).toBe(`Bearer ${TOKEN}`);
    await session.end();
  });

  it('keeps its token from another origin, and says so when that is what is missing', async () => {
    relay.script = () => ({ status: 307, headers: { location: other.url } });
    const session = await post();
    expect(other.requests[0]?.headers.authorization).toBeUndefined();
    await session.end();
    expect(other.requests[1]).toMatchObject({ method: 'DELETE' });
    expect(other.requests[1]?.headers.authorization).toBeUndefined();
    other.script = () => ({ status: 401 });
    const { error, retryAfterMs } = await failure();
    expect(error).toMatchObject({ code: 'target.rejected' });
    expect(error.remedy).toContain('redirects to another origin');
    expect(retryAfterMs).toBe(60_000);
  });

  it.each<[string, RelayReply, RegExp]>([
    ['a circle', { status: 307, headers: { location: '/live/whip' } }, /redirects in a circle/],
    ['303', { status: 303, headers: { location: '/other' } }, /answered 303/],
    ['no Location', { status: 308 }, /answered 308 without Location/],
  ])('refuses a redirect with %s', async (_what, reply, message) => {
    relay.script = () => reply;
    const { error } = await failure();
    expect(error.code).toBe('target.answer');
    expect(error.message).toMatch(message);
  });

  it('follows at most five redirects, and none to an address that is not permitted or no HTTP', async () => {
    relay.script = (_request, number) => ({ status: 307, headers: { location: `/hop/${number}` } });
    expect((await failure()).error).toMatchObject({ code: 'target.refused' });
    expect(relay.requests).toHaveLength(6);
    for (const location of ['http://127.0.0.2/', 'http://10.0.0.1/', 'http://[::1]/', 'file:///etc/passwd']) {
      relay.script = () => ({ status: 307, headers: { location } });
      expect((await failure()).error, location).toMatchObject({ code: 'target.refused' });
    }
  });

  it.each<[number, Record<string, string>, string, string, number]>([
    [400, { 'content-type': 'text/plain' }, 'no\r\nvideo', 'target.rejected: 400 Bad Request: no video', 60_000],
    [401, {}, '', 'target.rejected: 401 Unauthorized', 60_000],
    [403, {}, '', 'target.rejected: 403 Forbidden', 60_000],
    [404, { 'content-type': 'text/html' }, '<h1>', 'target.rejected: 404 Not Found', 60_000],
    [409, { 'retry-after': '2' }, '', 'target.rejected: 409 Conflict', 2000],
    [422, { 'content-type': 'application/problem+json' }, '{"detail":"H265?"}', 'Entity: H265?', 60_000],
    [422, { 'content-type': 'application/json' }, '{broken', 'target.rejected: 422', 60_000],
    [429, { 'retry-after': '7' }, '', 'target.busy: 429', 7000],
    [500, {}, '', 'target.busy: 500', 0],
    [503, { 'retry-after': '3' }, '', 'target.busy: 503', 3000],
    [503, { 'retry-after': '99999999' }, '', 'target.busy: 503', 600_000],
    [200, SDP, ANSWER, 'target.answer: 200 OK', 60_000],
    [204, {}, '', 'target.answer: 204', 60_000],
    [999, {}, '', 'target.answer: 999', 60_000],
  ])('says what %i means, and when to try again', async (status, headers, body, expected, retryAfterMs) => {
    relay.script = () => ({ status, headers, body });
    const failed = await failure();
    const text = `${failed.error.code}: ${failed.error.message.replace(/^.* answered /, '')}`;
    expect(text).toContain(expected);
    expect(failed.retryAfterMs).toBe(retryAfterMs);
    expect(failed.error.remedy).not.toBe('');
  });

  it.each<[string, Record<string, string>, string, RegExp]>([
    ['another type', { 'content-type': 'text/html' }, '<html>', /the type text\/html/],
    ['no type', {}, ANSWER, /the type none/],
    ['nothing', SDP, '  ', /without SDP/],
  ])('does not take a 201 with %s, and ends what it made', async (_what, headers, body, message) => {
    relay.script = ({ method }) =>
      method === 'POST' ? { status: 201, headers: { ...headers, location: '/session' }, body } : undefined;
    const { error } = await failure();
    expect(error.code).toBe('target.answer');
    expect(error.message).toMatch(message);
    await until(() => relay.requests.some(({ method, path }) => method === 'DELETE' && path === '/session'));
  });

  it('reads 64 KiB of an answer', async () => {
    relay.script = () => ({ status: 201, headers: SDP, body: 'x'.repeat(70_000) });
    expect((await failure()).error).toMatchObject({ code: 'target.answer' });
  });

  it.each<['hang' | 'drop', number | undefined, RegExp]>([
    ['hang', 50, /did not answer within 0.05 s/],
    ['drop', undefined, /hang up|reset/],
  ])('does not wait for targets that %s', async (what, withinMs, message) => {
    relay.script = () => what;
    const { error, retryAfterMs } = await failure(withinMs === undefined ? {} : { withinMs });
    expect(error).toMatchObject({ code: 'target.unreachable' });
    expect(error.message).toMatch(message);
    expect(retryAfterMs).toBe(0);
  });

  it('does not wait for the rest of an answer', async () => {
    relay.script = () => ({ status: 201, headers: { ...SDP, 'content-length': '100' }, body: ANSWER });
    expect((await failure({ withinMs: 50 })).error).toMatchObject({ code: 'target.unreachable' });
  });

  it('ends with its caller', async () => {
    relay.script = () => 'hang';
    const caller = new AbortController();
    const failed = failure({ signal: caller.signal });
    caller.abort();
    expect((await failed).error.code).toBe('target.unreachable');
  });

  it('connects to permitted addresses alone', async () => {
    const strict = new TargetPolicy({ allow: [] });
    expect((await failure({ policy: strict })).error.code).toBe('target.refused');
    const rebound = new TargetPolicy({ allow: [] }, async () => [{ address: '127.0.0.1' }]);
    const url = relay.url.replace('127.0.0.1', 'whip.example');
    expect((await failure({ policy: rebound, url })).error.code).toBe('target.refused');
    expect((await failure({ url: 'ftp://127.0.0.1/' })).error.code).toBe('target.refused');
    expect(relay.requests).toEqual([]);
  });

  it('says which port is closed', async () => {
    await relay.close();
    expect((await failure()).error.message).toMatch(/^http:\/\/127\.0\.0\.1:\d+ cannot be reached: .*ECONNREFUSED/);
  });

  it('takes a session that is gone for ended, and reports one that cannot be ended', async () => {
    const gone = await post();
    relay.sessions.clear();
    await gone.end();
    const stuck = await post();
    relay.script = () => ({ status: 500 });
    await expect(stuck.end()).rejects.toMatchObject({ code: 'target.busy' });
    relay.script = () => undefined;
    const hung = await post();
    relay.script = () => 'hang';
    await expect(hung.end(50)).rejects.toMatchObject({ code: 'target.unreachable' });
  });

  it.each<[number, Record<string, string>, string, string, number]>([
    [404, { 'content-type': 'text/plain' }, 'no stream', 'target.rejected: 404 Not Found: no stream', 0],
    [409, { 'retry-after': '3' }, '', 'target.rejected: 409 Conflict', 3000],
    [401, {}, '', 'target.rejected: 401', 60_000],
    [405, {}, '', 'target.rejected: 405', 60_000],
    [503, { 'retry-after': '2' }, '', 'target.busy: 503', 2000],
    [200, SDP, ANSWER, 'target.answer: 200 OK', 60_000],
  ])(
    'of WHEP takes %i for the state of a stream, or for a mistake',
    async (status, headers, body, expected, waitMs) => {
      relay.script = () => ({ status, headers, body });
      const { error, retryAfterMs } = await failure({ purpose: 'play' });
      expect(`${error.code}: ${error.message.replace(/^.* answered /, '')}`).toContain(expected);
      expect(`${error.message} ${error.remedy}`).not.toMatch(/WHIP answers|nothing takes WHIP|has the name/);
      expect(retryAfterMs).toBe(waitMs);
    },
  );

  it('of WHEP refuses an offer of the server, and ends the session that waits for its answer', async () => {
    const counterOffer = { status: 406, headers: { ...SDP, location: '/counter' }, body: 'v=0\r\n' };
    relay.script = ({ method }) => (method === 'POST' ? counterOffer : undefined);
    const { error } = await failure({ purpose: 'play' });
    expect(error).toMatchObject({ code: 'target.rejected' });
    expect(error.remedy).toContain('offer of its own');
    await until(() => relay.requests.some(({ method, path }) => method === 'DELETE' && path === '/counter'));
  });

  it('sends candidates that the offer lacks by PATCH, under the entity tag and the ICE user of its session', async () => {
    const session = await post();
    relay.script = ({ method }) => (method === 'PATCH' ? { status: 204 } : undefined);
    await session.trickle(['candidate:9 1 udp 1 192.0.2.9 5009 typ relay raddr 192.0.2.1 rport 5000']);
    const { path, headers, body } = relay.requests[1] ?? {};
    expect([path, headers?.['if-match'], headers?.['content-type'], headers?.authorization]).toEqual([
      ...['/live/whip/1', '*', 'application/trickle-ice-sdpfrag', `Bearer ${TOKEN}`],
    ]);
    expect(parseSdpFragment(body ?? '').candidates).toEqual([
      'candidate:9 1 udp 1 192.0.2.9 5009 typ relay raddr 192.0.2.1 rport 5000',
    ]);
    expect(body).toContain('a=ice-ufrag:abcd\r\na=ice-pwd:efgh\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n');
    relay.script = () => ({ status: 405 });
    await expect(session.trickle(['candidate:1'])).rejects.toMatchObject({ code: 'target.rejected' });
    relay.script = () => undefined;
    await session.end();
    const before = relay.requests.length;
    await session.trickle(['candidate:2']);
    expect(relay.requests).toHaveLength(before);
  });

  it('sends a PATCH without If-Match to a server that has no entity tags', async () => {
    relay.script = ({ method }) =>
      method === 'POST' ? { status: 201, headers: { ...SDP, location: '/s' }, body: ANSWER } : { status: 200 };
    const session = await post();
    await session.trickle(['candidate:1']);
    expect(relay.requests[1]?.headers['if-match']).toBeUndefined();
  });
});
