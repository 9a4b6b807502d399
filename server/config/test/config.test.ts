import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { broadcastName } from '../../broadcast/name.ts';
import { addressFor, configKeys, environmentName, loadConfig, printableConfig } from '../config.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flashvsr-config-'));
});
afterEach(() => rmSync(folder, { recursive: true }));

function file(text: string): string {
  const path = join(folder, 'config.yaml');
  writeFileSync(path, text);
  return path;
}

describe('loadConfig', () => {
  it('is usable without any setting and listens on loopback only', () => {
    const config = loadConfig({});
    expect(config.http).toMatchObject({ host: '127.0.0.1', port: 8080 });
    expect(config.model.name).toBe('auto');
  });

  it('layers file, environment and flags, the later one winning key by key', () => {
    const path = file('http: { port: 1111, host: 0.0.0.0 }\naccess: { mode: open }\nmedia: { jitterMs: 50 }\n');
    const config = loadConfig({
      argv: ['--config', path, '--port', '3333'],
      environment: { FLASHVSR_HTTP_PORT: '2222', FLASHVSR_MEDIA_JITTER_MS: '70' },
    });
    expect(config.http).toMatchObject({ host: '0.0.0.0', port: 3333 });
    expect(config.media.jitterMs).toBe(70);
  });

  it('reads lists, numbers and booleans from text, and --no-x as false', () => {
    const config = loadConfig({
      argv: ['--no-media.ladder', '--ice.portRange=[50000,50100]'],
      environment: { FLASHVSR_ICE_ADDITIONAL_HOST_ADDRESSES: '["203.0.113.5"]' },
    });
    expect(config.media.ladder).toBe(false);
    expect(config.http.trustProxy).toBe(false);
    expect(loadConfig({ argv: ['--http.trustProxy', '["10.0.0.0/8","::1"]'] }).http.trustProxy).toHaveLength(2);
    expect(loadConfig({ argv: ['--http.trustProxy', '1'] }).http.trustProxy).toBe(1);
    expect(config.ice).toMatchObject({ portRange: [50000, 50100], additionalHostAddresses: ['203.0.113.5'] });
  });

  it.each([
    [['--http.port', '70000'], /http\.port: .*65535/],
    [['--media.filter', 'x'], /Unknown flag --media\.filter/],
    [['--model.filter', 'nearest'], /model\.filter: .*"bicubic"\|"lanczos"/],
    [['--http.tlsKeyFile', 'k.pem'], /http\.tlsCertificateFile: certificate and key/],
    [['--ice.portRange', '[6000,5000]'], /ice\.portRange: the second port/],
    [['--http.trustProxy', 'true'], /http\.trustProxy: must be false, a number of proxies/],
    [['--http.trustProxy', '["proxy"]'], /http\.trustProxy\.0: must be an address or a network/],
    [['stray'], /Unexpected argument "stray"/],
    [['--config', '/does/not/exist.yaml'], /cannot be read/],
  ])('%j is refused with a message that names the key', (argv, message) => {
    expect(() => loadConfig({ argv })).toThrow(message);
  });

  it('names every wrong key of a file at once, unknown keys too', () => {
    const path = file('http: { prot: 1 }\nmedia: { jitterMs: fast }\n');
    expect(() => loadConfig({ argv: ['--config', path] })).toThrow(/http: unknown key "prot".*media\.jitterMs/);
  });

  it('refuses a file that is not a mapping', () => {
    expect(() => loadConfig({ argv: ['--config', file('- a\n- b\n')] })).toThrow(/must be a mapping/);
  });
});

describe('names', () => {
  it('gives every key its own environment name', () => {
    const names = configKeys().map(environmentName);
    expect(new Set(names).size).toBe(names.length);
    expect(environmentName('media.jitterMs')).toBe('FLASHVSR_MEDIA_JITTER_MS');
  });

  it('prints no credentials', () => {
    const config = loadConfig({ argv: ['--ice.servers', '[{"urls":"turn:t","username":"u","credential":"secret"}]'] });
    expect(JSON.stringify(printableConfig(config))).not.toContain('secret');
  });

  it('prints addresses of sources without user, password, path and query', () => {
    const list = [
      { name: 'cam', url: 'rtsp://user:secret@10.0.0.9/live?key=secret' },
      { name: 'b', url: 'srt://h:1#!::r=secret' },
    ];
    const printed = printableConfig(loadConfig({ argv: ['--sources', JSON.stringify(list)] }));
    expect(printed.sources.map(({ url }) => url)).toEqual(['rtsp://10.0.0.9/***', 'srt://h:1/***']);
  });

  it.each([
    ['[{"name":"a","url":"gopher://host/"}]', 'sources.0.url'],
    ['[{"name":"a","url":"rtsp:///live"}]', 'sources.0.url'],
    ['[{"name":"a","url":"no address"}]', 'scheme is one of rtsp'],
    ['[{"name":"a","url":"rtsp://h/","transport":"sctp"}]', 'sources.0.transport'],
    ['[{"name":"a","url":"rtsp://h/"},{"name":"a","url":"rtsp://i/"}]', '"a" names another source already'],
    ['[{"name":"a b","url":"rtsp://h/"}]', 'sources.0.name: must be a broadcast'],
    ['[{"name":"a","type":"whep","url":"rtsp://h/"}]', 'sources.0.url: of type whep must begin with https'],
    ['[{"name":"a","type":"whep","url":"https://u:p@h/"}]', 'sources.0.url: must not have a user'],
    ['[{"name":"a","type":"whep","url":"https://h/","bearer":"two words"}]', 'sources.0.bearer: must be one token'],
    ['[{"name":"a","url":"https://h/a.m3u8","bearer":"t"}]', 'sources.0.bearer: is for sources of type whep'],
    ['[{"url":"rtsp://h/"}]', 'sources.0.name'],
  ])('refuses sources that cannot be: %s', (list, message) => {
    expect(() => loadConfig({ argv: ['--sources', list] })).toThrow(message);
  });

  it('refuses allowed targets that are no networks', () => {
    expect(() => loadConfig({ argv: ['--targets.allow', '["camera.local"]'] })).toThrow(
      'must be an address or a network',
    );
  });
});

describe('outputs', () => {
  const outputs = (...list: object[]) => loadConfig({ argv: ['--outputs', JSON.stringify(list)] }).outputs;
  const archive = { name: 'archive', broadcast: '*', type: 'recording', folder: 'recordings' };

  it('are a list in the file, or JSON in a flag; missing keys have their defaults', () => {
    const path = file('outputs:\n  - { name: archive, broadcast: room/ann, type: recording, folder: recordings }\n');
    const common = { track: 'result', enabled: true, container: 'auto', rotateSeconds: 3600 };
    expect(loadConfig({ argv: ['--config', path] }).outputs).toMatchObject([{ broadcast: 'room/ann', ...common }]);
    expect(outputs(archive)).toMatchObject([{ broadcast: '*', ...common }]);
    expect(loadConfig({}).outputs).toEqual([]);
  });

  it.each([
    [{ ...archive, name: 'a b' }, /outputs\.0\.name: must be 1 to 32 letters/],
    [{ ...archive, broadcast: '../x' }, /outputs\.0\.broadcast: must be a broadcast's name/],
    [{ ...archive, type: 'tape' }, /outputs\.0\.type: .*/],
    [{ ...archive, url: 'x' }, /outputs\.0: unknown key "url"/],
    [{ ...archive, rotateSeconds: 0 }, /outputs\.0\.rotateSeconds/],
  ])('%j is refused with a message that names the key', (output, message) => {
    expect(() => outputs(output)).toThrow(message);
  });

  it('show neither user nor key of their addresses in the log', () => {
    const config = loadConfig({
      argv: [
        '--outputs',
        JSON.stringify([{ name: 'relay', broadcast: 'stage', type: 'rtmp', url: 'rtmp://u:p@h/live/KEY?x=y' }]),
      ],
    });
    expect(printableConfig(config).outputs).toMatchObject([{ name: 'relay', url: 'rtmp://h/***' }]);
  });

  it.each([
    ['rtmp', 'http://example.org/x'],
    ['srt', 'rtmp://example.org/x'],
    ['rtsp', 'no address'],
    ['rtsp', 'rtsp:///no-host'],
  ])('%s does not go to %s', (type, url) => {
    expect(() => outputs({ name: 'a', broadcast: '*', type, url })).toThrow(
      `must be an address that begins with ${type}://`,
    );
  });

  const push = { name: 'far', broadcast: 'stage', type: 'whip', url: 'https://far.example/whip/streamkey' };

  it('push to a WHIP endpoint with a bearer token, of which no log has anything', () => {
    const [whip] = outputs({ ...push, bearer: 'abc.def-7==' });
    expect(whip).toEqual({ ...push, bearer: 'abc.def-7==', track: 'result', enabled: true });
    expect(outputs({ ...push, broadcast: '*', url: 'https://far.example/{broadcast}/whip' })).toHaveLength(1);
    const config = loadConfig({ argv: ['--outputs', JSON.stringify([{ ...push, bearer: 'abc.def-7==' }])] });
    const printed = JSON.stringify(printableConfig(config));
    expect(printed).toContain('https://far.example/***');
    expect(printed).not.toMatch(/abc\.def|streamkey/);
  });

  it.each([
    [{ ...push, url: 'far.example' }, /outputs\.0\.url: must be an address that begins with https/],
    [{ ...push, url: 'rtmp://far.example/x' }, /outputs\.0\.url: must be an address that begins with https/],
    [{ ...push, url: 'https://me:pass@far.example/' }, /outputs\.0\.url: must not have a user/],
    [{ ...push, broadcast: '*' }, /outputs\.0\.url: must have \{broadcast\} behind its host/],
    [{ ...push, url: 'https://{broadcast}.example/' }, /outputs\.0\.url: /],
    [{ ...push, bearer: 'two words' }, /outputs\.0\.bearer: must be one token/],
    [{ ...push, bearer: 'a\r\nX-Evil: 1' }, /outputs\.0\.bearer: must be one token/],
    [{ ...push, folder: 'x' }, /outputs\.0: unknown key "folder"/],
  ])('that push are refused: %j', (output, message) => {
    expect(() => outputs(output)).toThrow(message);
  });

  it('two HLS outputs that write one folder are refused', () => {
    const hls = (name: string, broadcast: string, folder: string) => ({ name, broadcast, type: 'hls', folder });
    const both = (...list: object[]) => loadConfig({ argv: ['--outputs', JSON.stringify(list)] });
    const problem = /outputs\.1\.folder: is that of "a" for the same broadcast/;
    expect(() => both(hls('a', 'stage', 'x'), hls('b', 'stage', './x/'))).toThrow(problem);
    expect(() => both(hls('a', '*', 'x'), hls('b', 'stage', 'x'))).toThrow(problem);
    expect(both(hls('a', 'one', 'x'), hls('b', 'two', 'x')).outputs).toHaveLength(2);
    expect(both(hls('a', '*', 'x'), hls('b', '*', 'y')).outputs).toHaveLength(2);
  });

  it.each([
    ['rtmp', 'rtmp://far.example/live/'],
    ['srt', 'srt://far.example:9000?streamid=publish:'],
    ['rtsp', 'rtsp://far.example/'],
  ])('%s of every broadcast needs {broadcast} in its address, which would take one alone', (type, url) => {
    const all = { name: 'a', broadcast: '*', type };
    expect(() => outputs({ ...all, url: `${url}key` })).toThrow('outputs.0.url: must have {broadcast} behind its host');
    expect(outputs({ ...all, url: `${url}{broadcast}` })).toHaveLength(1);
    expect(addressFor(`${url}{broadcast}`, 'room/ann')).toBe(`${url}room/ann`);
  });

  it('have one name each', () => {
    expect(() => outputs(archive, archive)).toThrow('outputs.1.name: "archive" names another output already');
  });

  it.each(['stage', 'room/ann', 'a..b', '', '/', 'a/b/c', '.a', 'ä', 'x'.repeat(65), `r/${'x'.repeat(64)}`])(
    'name broadcasts as the domain does: %j',
    (name) => {
      const taken = (() => {
        try {
          return outputs({ ...archive, broadcast: name }).length === 1;
        } catch {
          return false;
        }
      })();
      expect(taken).toBe(broadcastName.safeParse(name).success);
    },
  );
});
