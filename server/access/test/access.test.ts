import { SignJWT } from 'jose';
import { describe, expect, it } from 'vitest';
import { accessFor } from '../../../testing/access-for.ts';
import { FailureDelays } from '../failure-delays.ts';
import { rightsOfClaims } from '../jwt-claims.ts';
import { Kicked } from '../kicked.ts';
import { NO_RIGHTS, allows, covers, type Action } from '../rights.ts';
import { makeToken, tokenHash } from '../static-tokens.ts';

const ADDRESS = '203.0.113.9';
const SECRET = 'a shared secret of enough characters';
const ask = (action: Action, name: string, credential?: string, more: object = {}) => ({
  ...{ action, name, credential, address: ADDRESS },
  ...more,
});

interface Signing {
  readonly alg?: string;
  readonly by?: string;
  /** As jose takes it; null: none. */
  readonly expires?: string | number | null;
  readonly subject?: unknown;
}

function jwt(claims: object, { alg = 'HS256', by = SECRET, expires = '1h', subject = 'anna' }: Signing = {}) {
  const token = new SignJWT({ ...claims, sub: subject as string }).setProtectedHeader({ alg });
  return (expires === null ? token : token.setExpirationTime(expires)).sign(new TextEncoder().encode(by));
}

describe('names', () => {
  it.each([
    [['stage'], 'stage', true],
    [['stage'], 'stage2', false],
    [['cam*'], 'cam1', true],
    [['room/*'], 'room/anna', true],
    [['room/*'], 'room2/anna', false],
    [['*'], 'anything', true],
    [[''], '', false],
    [['s.age'], 'stage', false],
  ])('%j and %s: %s', (patterns, name, expected) => {
    expect(covers(patterns, name)).toBe(expected);
  });

  it('admin operates and plays recordings, and neither publishes nor watches', () => {
    const admin = { ...NO_RIGHTS, admin: true };
    const given = (['publish', 'watch', 'hls', 'playback', 'rooms', 'metrics', 'admin'] as const).filter((action) =>
      allows(admin, action, 'stage'),
    );
    expect(given).toEqual(['playback', 'metrics', 'admin']);
  });
});

describe('JSON Web Tokens', () => {
  const access = accessFor({ mode: 'jwt', jwtSecret: SECRET, failureDelayMs: 0 });
  const rights = { flashvsr: { publish: ['stage'] } };

  it.each([
    ['without exp', () => jwt(rights, { expires: null })],
    ['expired for more than the tolerance', () => jwt(rights, { expires: Math.floor(Date.now() / 1000) - 40 })],
    ['of another key', () => jwt(rights, { by: `${SECRET}!` })],
    ['of an algorithm that is not configured', () => jwt(rights, { alg: 'HS512', by: SECRET.repeat(2) })],
    [
      'that says it needs no signature',
      async () => `${btoa('{"alg":"none"}')}.${btoa('{"exp":9e9}')}.`.replaceAll('=', ''),
    ],
    ['that is none', async () => 'garbage'],
    ['whose subject is no text', () => jwt(rights, { subject: 7 })],
  ])('refuses one %s', async (_what, token) => {
    await expect(access.authorize(ask('publish', 'stage', await token()))).rejects.toMatchObject({
      code: 'request.unauthorized',
    });
  });

  it('takes one whose exp the other clock has just passed', async () => {
    const token = await jwt(rights, { expires: Math.floor(Date.now() / 1000) - 5 });
    await expect(access.authorize(ask('publish', 'stage', token))).resolves.toBeDefined();
  });

  it('a renewed token is the same holder and owner, another subject is not', async () => {
    const [first, second] = [await jwt(rights), await jwt(rights, { expires: '2h' })];
    const grants = await Promise.all([first, second].map((token) => access.authorize(ask('publish', 'stage', token))));
    expect(grants[0]?.owner).toBeDefined();
    expect(grants[1]).toMatchObject({ owner: grants[0]?.owner ?? '', holder: grants[0]?.holder ?? '' });
    const other = await new SignJWT(rights)
      .setProtectedHeader({ alg: 'HS256' })
      .setSubject('ben')
      .setExpirationTime('1h')
      .sign(new TextEncoder().encode(SECRET));
    expect((await access.authorize(ask('publish', 'stage', other))).owner).not.toBe(grants[0]?.owner);
  });

  it('checks issuer and audience where they are configured', async () => {
    const strict = accessFor({
      mode: 'jwt',
      jwtSecret: SECRET,
      jwtIssuer: 'us',
      jwtAudience: 'live',
      failureDelayMs: 0,
    });
    const right = await jwt({ ...rights, iss: 'us', aud: ['live'] });
    await expect(strict.authorize(ask('publish', 'stage', right))).resolves.toBeDefined();
    for (const wrong of [{ iss: 'them', aud: 'live' }, { iss: 'us', aud: 'vod' }, {}]) {
      const token = await jwt({ ...rights, ...wrong });
      await expect(strict.authorize(ask('publish', 'stage', token))).rejects.toMatchObject({
        code: 'request.unauthorized',
      });
    }
  });

  it('reads MediaMTX permissions as a list and as text, and no regular expression', () => {
    const permissions = [
      { action: 'publish', path: 'stage' },
      { action: 'read', path: '' },
      { action: 'playback', path: '~^.*$' },
      { action: 'read', path: 'a*' },
      { action: 'toString', path: 'x' },
      { action: 'metrics' },
      'nonsense',
    ];
    const expected = { ...NO_RIGHTS, publish: ['stage'], watch: ['*'], playback: [], metrics: true };
    expect(rightsOfClaims({ mediamtx_permissions: permissions })).toEqual(expected);
    expect(rightsOfClaims({ mediamtx_permissions: JSON.stringify(permissions) })).toEqual(expected);
    expect(rightsOfClaims({ mediamtx_permissions: '['.repeat(1000) })).toEqual(NO_RIGHTS);
    expect(rightsOfClaims({ flashvsr: { publish: 'stage', admin: 'yes', watch: [7, ''] } })).toEqual(NO_RIGHTS);
  });
});

describe('a session’s end', () => {
  const token = makeToken();
  const expires = '2099-01-01T00:00:00Z';
  const entry = { name: 'a', hash: tokenHash(token), watch: ['*'], expires };

  it.each([
    [true, Date.parse(expires)],
    [false, undefined],
  ])('endAtExpiry %s', async (endAtExpiry, endsAtMs) => {
    const access = accessFor({ mode: 'tokens', tokens: [entry], endAtExpiry });
    expect(await access.authorize(ask('watch', 'stage', token))).toMatchObject({ endsAtMs });
  });

  it('of a link for viewers is that of the link', async () => {
    const access = accessFor({ mode: 'tokens', tokens: [entry], endAtExpiry: true, linkSeconds: 60 });
    const link = await access.makeLink('stage');
    expect(await access.authorize(ask('watch', 'stage', link.token))).toMatchObject({ endsAtMs: link.expiresAtMs });
    const later = accessFor(
      { mode: 'tokens', tokens: [entry], failureDelayMs: 0 },
      { now: () => link.expiresAtMs + 1 },
    );
    await expect(later.authorize(ask('watch', 'stage', link.token))).rejects.toMatchObject({
      code: 'request.unauthorized',
    });
  });
});

it('--lan that has made no tokens is refused, and not open', () => {
  expect(() => accessFor({ lan: true })).toThrow('no tokens');
});

describe('this machine', () => {
  const entry = { name: 'a', hash: tokenHash(makeToken()) };
  it.each([
    ['open', 'admin', false, true],
    ['open', 'playback', false, true],
    ['tokens', 'admin', true, true],
    ['tokens', 'admin', false, false],
    ['tokens', 'publish', true, false],
    ['tokens', 'watch', true, false],
  ] as const)('mode %s, %s, listening on loopback %s: %s', async (mode, action, onLoopback, yes) => {
    const access = accessFor(mode === 'open' ? {} : { mode, tokens: [entry] }, { onLoopback });
    const asked = access.authorize(ask(action, 'stage', undefined, { local: true }));
    await (yes ? expect(asked).resolves.toBeDefined() : expect(asked).rejects.toMatchObject({ status: 401 }));
  });

  it('another machine operates an open server never', async () => {
    for (const action of ['admin', 'metrics', 'playback', 'hls'] as const) {
      await expect(accessFor().authorize(ask(action, 'stage'))).rejects.toMatchObject({ code: 'request.forbidden' });
    }
  });
});

it('what is public needs no credential to be watched, and one to be published', async () => {
  const access = accessFor({
    mode: 'tokens',
    tokens: [{ name: 'a', hash: tokenHash(makeToken()) }],
    public: ['lobby/*'],
  });
  await expect(access.authorize(ask('watch', 'lobby/a'))).resolves.toBeDefined();
  await expect(access.authorize(ask('hls', 'lobby/a'))).resolves.toBeDefined();
  await expect(access.authorize(ask('publish', 'lobby/a'))).rejects.toMatchObject({ status: 401 });
  await expect(access.authorize(ask('watch', 'stage'))).rejects.toMatchObject({ status: 401 });
  const sight = await access.identify(undefined, ADDRESS);
  expect(['lobby/a', 'stage'].filter((name) => sight.sees(name))).toEqual(['lobby/a']);
});

describe('failures', () => {
  it('double the delay of their address up to sixteen times, and are forgotten', () => {
    const delays = new FailureDelays(200);
    const waits = Array.from({ length: 7 }, () => {
      const ms = delays.enter(ADDRESS, 0);
      delays.leave(ADDRESS);
      return ms;
    });
    expect(waits).toEqual([200, 400, 800, 1600, 3200, 3200, 3200]);
    expect(delays.enter('198.51.100.1', 0)).toBe(200);
    delays.leave(ADDRESS);
    expect(delays.enter(ADDRESS, 200_000)).toBe(200);
  });

  it('let an address wait for sixteen answers at most', () => {
    const delays = new FailureDelays(200);
    for (let count = 0; count < 16; count += 1) expect(delays.enter(ADDRESS, 0)).toBeGreaterThan(0);
    expect(delays.enter(ADDRESS, 0)).toBeUndefined();
    delays.leave(ADDRESS);
    expect(delays.enter(ADDRESS, 0)).toBeGreaterThan(0);
  });

  it('remember a bounded number of addresses', () => {
    const delays = new FailureDelays(200);
    for (let index = 0; index < 9000; index += 1) delays.enter(`10.0.${index >> 8}.${index & 255}`, index);
    expect(delays.addresses).toBe(8192);
  });
});

it('a kick refuses the name to all and the holder every name, for its time', () => {
  const kicked = new Kicked();
  kicked.add('stage', 'digest', 1000);
  expect(kicked.leftMs('stage', 'other', 400)).toBe(600);
  expect(kicked.leftMs('another', 'digest', 400)).toBe(600);
  expect(kicked.leftMs('another', undefined, 400)).toBe(0);
  expect(kicked.leftMs('stage', 'digest', 1000)).toBe(0);
});

describe('tokens that are read again', () => {
  const [kept, gone, less, fresh] = [makeToken(), makeToken(), makeToken(), makeToken()];
  const entry = (name: string, token: string, rights: object) => {
    const none = { publish: [], watch: [], playback: [], rooms: [], metrics: false, admin: false };
    return { ...none, name, hash: tokenHash(token), ...rights };
  };
  const first = [
    entry('kept', kept, { publish: ['*'] }),
    entry('gone', gone, { publish: ['*'], watch: ['*'] }),
    entry('less', less, { publish: ['a', 'b'] }),
  ];

  it('count at once, and say which sessions have lost their right', async () => {
    const access = accessFor({ mode: 'tokens', tokens: first, public: ['lobby'], failureDelayMs: 0 });
    const holderOf = async (token: string) => (await access.authorize(ask('publish', 'a', token))).holder ?? '';
    const holders = { kept: await holderOf(kept), gone: await holderOf(gone), less: await holderOf(less) };
    const sight = await access.identify(gone, ADDRESS);
    expect(sight.sees('a')).toBe(true);

    const lost = access.replaceTokens([
      entry('kept', kept, { publish: ['*'] }),
      entry('less', less, { publish: ['b'] }),
      entry('fresh', fresh, { publish: ['*'] }),
    ]);
    await expect(access.authorize(ask('publish', 'a', gone))).rejects.toMatchObject({ code: 'request.unauthorized' });
    await expect(access.authorize(ask('publish', 'a', fresh))).resolves.toBeDefined();
    expect(sight.sees('a')).toBe(false);
    expect(lost(holders.kept, 'publish', 'a')).toBe(false);
    expect(lost(holders.gone, 'publish', 'a')).toBe(true);
    expect(lost(holders.gone, 'watch', 'lobby')).toBe(false);
    expect([lost(holders.less, 'publish', 'a'), lost(holders.less, 'publish', 'b')]).toEqual([true, false]);
    // Of a link or another mode's credential.
    expect(lost('unknown', 'publish', 'a')).toBe(false);
    // The same token is the same holder as before.
    expect(await holderOf(kept)).toBe(holders.kept);
  });

  it('are refused in other modes, and nothing changes', () => {
    const access = accessFor({ mode: 'open' });
    expect(() => access.replaceTokens(first)).toThrow(expect.objectContaining({ code: 'access.reload' }));
  });
});
