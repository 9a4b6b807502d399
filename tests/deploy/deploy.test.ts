import { existsSync } from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { tokenHash } from '../../server/access/static-tokens.ts';
import { configKeys, configSchema, environmentName, loadConfig } from '../../server/config/config.ts';
import { Metrics } from '../../server/metrics.ts';
import { ROOT, deployFile, deployFiles } from './files.ts';

/** What deploy/ names exists: settings, metrics, files, paths of the server. Where the program is, tests/deploy/checked.it.test.ts asks it. */

/** Variables that are no setting: of the configuration itself, the install script and the engine. */
const OTHER_VARIABLES = ['FLASHVSR_CONFIG', 'FLASHVSR_REQUIRE_ADDON', 'FLASHVSR_SKIP_ADDON', 'FLASHVSR_CUDA'];
/** Files and events of the log that look like settings. */
const OTHER_WORDS = ['access.log', 'access.refused'];
const SETTINGS = new Map(configKeys().map((key) => [environmentName(key), key]));
const files = deployFiles();
const withPath = [...files];

describe('settings', () => {
  it.each(withPath)('of %s exist', (_name, text) => {
    const named = [...text.matchAll(/\bFLASHVSR_[A-Z_]*[A-Z]/g)].map(([variable]) => variable);
    expect(named.filter((variable) => !SETTINGS.has(variable) && !OTHER_VARIABLES.includes(variable))).toEqual([]);
    const sections = [...new Set(configKeys().map((key) => key.split('.')[0]))].join('|');
    const keys = [...text.matchAll(new RegExp(`(?<![\\w./-])(?:${sections})\\.[a-z][A-Za-z]+`, 'g'))].map(
      ([key]) => key,
    );
    expect(keys.filter((key) => !configKeys().includes(key) && !OTHER_WORDS.includes(key))).toEqual([]);
  });

  it('of the compose file and of the pods are a configuration that starts', () => {
    const { services } = parse(deployFile('compose/compose.yaml')) as Compose;
    const given = { PUBLIC_ADDRESS: '203.0.113.7', TURN_SECRET: 'x'.repeat(64), ACCESS_TOKENS: tokens() };
    const environment = Object.fromEntries(
      Object.entries(services['flashvsr']?.environment ?? {}).map(([name, value]) => [name, expand(value, given)]),
    );
    const config = loadConfig({ environment: { ...imageSettings('docker/Dockerfile'), ...environment } });
    expect(config.http).toMatchObject({ host: '0.0.0.0', localRights: false, metrics: ['10.231.77.0/29'] });
    expect(config.access).toMatchObject({ mode: 'tokens' });
    expect(config.ice.servers).toEqual([{ urls: 'turn:203.0.113.7:3478', secret: 'x'.repeat(64) }]);

    const pod = statefulSet().spec.template.spec.containers[0];
    const podSettings = Object.fromEntries(
      (pod?.env ?? []).flatMap(({ name, value }) =>
        value === undefined || name === 'FLASHVSR_CONFIG' ? [] : [[name, value]],
      ),
    ) as Record<string, string>;
    const podEnvironment = { ...podSettings, FLASHVSR_HTTP_PUBLIC_URL: 'https://flashvsr-0.live.example.org' };
    const access = ['--access.mode', 'jwt', '--access.jwtSecret', 's'.repeat(32)];
    const image = imageSettings('docker/Dockerfile.cuda');
    expect(loadConfig({ environment: { ...image, ...podEnvironment }, argv: access }).drainSeconds).toBe(600);
  });

  it('of an image that is started with nothing else do not open the server to everybody', () => {
    for (const file of ['docker/Dockerfile', 'docker/Dockerfile.cuda'])
      expect(() => loadConfig({ environment: imageSettings(file) })).toThrow(/access\.mode/);
  });

  it.each(['haproxy/haproxy.cfg', 'nginx/nginx.conf'])('that %s asks for take local rights away', (file) => {
    const [, text = ''] = /^#\s+(http: \{.*\})$/m.exec(deployFile(file)) ?? [];
    const { http } = configSchema.parse(parse(text));
    expect(http).toMatchObject({ host: '127.0.0.1', trustProxy: 1, localRights: 'auto' });
  });
});

it('every metric that is named exists', async () => {
  const known = (await new Metrics().registry.getMetricsAsJSON()).map(({ name }) => name);
  const sources = ['prometheus/alerts.yml', 'grafana/flashvsr-live.json', 'kubernetes/keda.yaml'];
  for (const file of sources) {
    const expressions = [...deployFile(file).matchAll(/\b(?:flashvsr|nodejs|process)_[a-z0-9_]+/g)].map(
      ([name]) => name,
    );
    expect(expressions.length).toBeGreaterThan(0);
    const unknown = expressions.filter(
      (name) => !known.includes(name) && !known.includes(name.replace(/_bucket$/, '')),
    );
    expect([file, unknown]).toEqual([file, []]);
  }
});

it('every label and state that an alert asks for exists', () => {
  const text = deployFile('prometheus/alerts.yml');
  for (const word of [
    'state="failed"',
    'state="waiting"',
    'stage="received"',
    'step="added"',
    'why="access"',
    'code="internal"',
  ])
    expect(text).toContain(word);
  expect(text.match(/\b(?:state|stage|step|why|code)="/g)).toHaveLength(6);
});

describe('images', () => {
  it.each(['Dockerfile', 'Dockerfile.cuda'])('%s copies what there is, and runs as nobody in particular', (name) => {
    const text = deployFile(`docker/${name}`).replaceAll('\\\n', ' ');
    const copies = [...text.matchAll(/^COPY (?!--from)(.+)$/gm)].map(([, words = '']) => words.split(' ').slice(0, -1));
    for (const file of copies.flat()) expect([file, existsSync(path.join(ROOT, file))]).toEqual([file, true]);
    const [, user] = /^USER (\S+)$/m.exec(text) ?? [];
    expect(user).not.toBe('root');
    const [, check = ''] = /^HEALTHCHECK .*CMD \["node", "(.+)"\]$/m.exec(text) ?? [];
    expect(copies.flat()).toContain(check);
    const [, entry = ''] = /^ENTRYPOINT \["node", "(.+)"\]$/m.exec(text) ?? [];
    expect(existsSync(path.join(ROOT, entry))).toBe(true);
    // What the server is at run time in a package is in an image, too.
    for (const folder of ['server', 'client-demo', 'models', 'package.json']) expect(copies.flat()).toContain(folder);
    expect(existsSync(path.join(ROOT, 'deploy/docker', `${name}.dockerignore`))).toBe(true);
  });
});

describe('Kubernetes', () => {
  const objects = ['kubernetes/flashvsr.yaml', 'kubernetes/keda.yaml'].flatMap((file) =>
    deployFile(file)
      .split(/^---$/m)
      .map((text) => parse(text) as KubernetesObject),
  );

  it('has objects with kind, version and name', () => {
    expect(objects.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`)).toEqual([
      'v1 Service',
      'apps/v1 StatefulSet',
      'policy/v1 PodDisruptionBudget',
      'keda.sh/v1alpha1 ScaledObject',
    ]);
    expect(new Set(objects.map(({ metadata }) => metadata.name))).toEqual(new Set(['flashvsr']));
  });

  it('has one GPU a pod, probes of paths that exist, and time to drain', () => {
    const { spec } = statefulSet();
    expect(spec.template.metadata.labels).toMatchObject(spec.selector.matchLabels);
    const { containers, volumes, terminationGracePeriodSeconds } = spec.template.spec;
    const [pod] = containers;
    expect(pod?.resources.limits['nvidia.com/gpu']).toBe(1);
    expect([pod?.livenessProbe, pod?.startupProbe].map((probe) => probe?.httpGet.path)).toEqual([
      '/healthz',
      '/healthz',
    ]);
    expect(pod?.readinessProbe.httpGet.path).toBe('/readyz');
    const drain = Number(pod?.env.find(({ name }) => name === 'FLASHVSR_DRAIN_SECONDS')?.value);
    expect(terminationGracePeriodSeconds).toBeGreaterThan(drain + 5);
    expect(pod?.lifecycle.preStop.exec.command.join(' ')).toMatch(/kill -TERM 1; while kill -0 1/);
    const mounts = pod?.volumeMounts.map(({ name }) => name).sort();
    const claims = spec.volumeClaimTemplates.map(({ metadata }) => metadata.name);
    expect(mounts).toEqual([...volumes.map(({ name }) => name), ...claims].sort());
  });
});

it('systemd waits longer than the drain, and does not start a wrong configuration again and again', () => {
  const unit = deployFile('systemd/flashvsr-live.service');
  const { drainSeconds } = configSchema.parse({});
  expect(Number(/^TimeoutStopSec=(\d+)$/m.exec(unit)?.[1])).toBeGreaterThan(drainSeconds + 5);
  expect(unit).toMatch(/^RestartPreventExitStatus=1$/m);
});

it('the guide names every folder', () => {
  const folders = new Set([...files.keys()].filter((file) => file.includes('/')).map((file) => file.split('/')[0]));
  for (const folder of folders) expect(deployFile('README.md')).toContain(`\`${folder}\``);
});

interface Compose {
  readonly services: Readonly<Record<string, { readonly environment?: Readonly<Record<string, string | number>> }>>;
}

interface KubernetesObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
}

interface Probe {
  readonly httpGet: { readonly path: string };
}

interface StatefulSet {
  readonly spec: {
    readonly selector: { readonly matchLabels: object };
    readonly volumeClaimTemplates: readonly { readonly metadata: { readonly name: string } }[];
    readonly template: {
      readonly metadata: { readonly labels: object };
      readonly spec: {
        readonly terminationGracePeriodSeconds: number;
        readonly volumes: readonly { readonly name: string }[];
        readonly containers: readonly {
          readonly env: readonly { readonly name: string; readonly value?: string }[];
          readonly livenessProbe: Probe;
          readonly startupProbe: Probe;
          readonly readinessProbe: Probe;
          readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: readonly string[] } } };
          readonly resources: { readonly limits: Readonly<Record<string, number | string>> };
          readonly volumeMounts: readonly { readonly name: string }[];
        }[];
      };
    };
  };
}

function statefulSet(): StatefulSet {
  const [, text = ''] = deployFile('kubernetes/flashvsr.yaml').split(/^---$/m);
  return parse(text) as StatefulSet;
}

/** ENV of an image, where it is the server's. */
function imageSettings(file: string): Record<string, string> {
  const text = deployFile(file).replaceAll('\\\n', ' ');
  const stage = text.slice(text.lastIndexOf('\nFROM'));
  const pairs = [...stage.matchAll(/^ENV (.+)$/gm)].flatMap(([, words = '']) => words.split(/\s+/));
  return Object.fromEntries(
    pairs.map((pair) => pair.split('=') as [string, string]).filter(([name]) => SETTINGS.has(name)),
  );
}

/** `${NAME}` and `${NAME:?message}`, as compose has them. */
function expand(value: string | number, given: Readonly<Record<string, string>>): string {
  return String(value).replace(/\$\{(\w+)(?::\?[^}]*)?\}/g, (_whole, name: string) => given[name] ?? '');
}

function tokens(): string {
  return JSON.stringify([{ name: 'studio', hash: tokenHash('x'), publish: ['*'] }]);
}
