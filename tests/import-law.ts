import path from 'node:path';
import ts from 'typescript';

/**
 * The law of imports (docs/architecture.md): imports point inward, nothing up, nothing sideways between adapters, and a library
 * has one importer. Written here once; `imports.test.ts` holds the tree to it.
 */

/** What an adapter of the domain may import. */
const ADAPTER: readonly string[] = [
  'room',
  'broadcast',
  'rtc',
  'log',
  'metrics',
  'config',
  'access',
  'media',
  'raw-response',
  'wire-error',
  'version',
  'errors',
];

/** What connects to others on its own account. */
const INGRESS_OR_EGRESS: readonly string[] = [
  'room',
  'broadcast',
  'rtc',
  'codec',
  'whip-client',
  'supervised-child',
  'backoff',
  'log',
  'metrics',
  'config',
  'access',
  'media',
  'errors',
];

/**
 * Rooms of server/ from the outside in, each with the rooms it may import. A room may import only rooms that stand below it, so
 * the table cannot contain a circle. `server/main.ts` is the room `main`; rooms within a room carry its name: `models/hub`.
 */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  // The command of an installed package: the one or the other.
  bin: ['main', 'cli'],
  main: ['cli', 'open-files'],
  // replay runs a recorded session through rtc's connection and tracks; doctor asks what they and the listener would meet.
  cli: [
    'app',
    'http',
    'jobs',
    'exit',
    'models/hub',
    'models',
    'upscalers',
    'codec',
    'rtc',
    'supervised-child',
    'media',
    'open-files',
    'log',
    'config',
    'access',
    'version',
    'errors',
  ],
  app: [
    ...[
      'signaling',
      'http',
      'ingress',
      'egress',
      'jobs',
      'room',
      'broadcast',
      'pipeline',
      'rtc',
      'models',
      'upscalers',
    ],
    ...['trace-file', 'log', 'metrics', 'config', 'access', 'media', 'version', 'errors'],
  ],
  // Adapters: each translates between the domain and one protocol, and knows no other adapter.
  signaling: ADAPTER,
  http: ['jobs', ...ADAPTER],
  ingress: INGRESS_OR_EGRESS,
  egress: INGRESS_OR_EGRESS,
  // Files of clients; how one is upscaled is handed in.
  jobs: ['log', 'config', 'errors'],
  // The domain owns the types it speaks: sessions, sinks, statistics, summaries.
  room: ['broadcast', 'rtc', 'log', 'metrics', 'config', 'access', 'media', 'errors'],
  broadcast: ['pipeline', 'rtc', 'upscalers', 'log', 'metrics', 'config', 'access', 'media', 'errors'],
  // Two engines under the domain: one moves packets, the other pixels. Neither knows the other.
  pipeline: ['upscalers', 'codec', 'config', 'media', 'boot', 'errors'],
  rtc: ['config', 'media', 'errors'],
  'models/hub': ['models', 'upscalers', 'errors'],
  models: ['upscalers', 'config', 'errors'],
  exit: ['upscalers', 'errors'],
  upscalers: ['codec', 'supervised-child', 'media', 'boot', 'errors'],
  codec: ['media', 'errors'],
  // HTTP of a WHIP or WHEP client: SDP is text here.
  'whip-client': ['access', 'errors'],
  'trace-file': ['media', 'errors'],
  log: ['config', 'errors'],
  metrics: ['media', 'errors'],
  config: ['access', 'media', 'errors'],
  access: ['errors'],
  media: ['errors'],
  'raw-response': ['wire-error', 'errors'],
  'wire-error': ['errors'],
  // What every child process and worker thread starts with.
  'supervised-child': ['boot'],
  boot: [],
  backoff: [],
  'open-files': [],
  version: [],
  errors: [],
};

/** Only these files of a room may be imported by the rooms named. */
const ENTRANCES: readonly { readonly of: string; readonly for: readonly string[]; readonly files: RegExp }[] = [
  // The domain and its adapters see WebRTC as an interface; app alone makes the stack.
  {
    of: 'rtc',
    for: ['room', 'broadcast', 'signaling', 'http', 'ingress', 'egress'],
    files: /^server\/rtc\/peers\.ts$/,
  },
  // The domain names options, messages and results of a pipeline; app alone starts workers.
  {
    of: 'pipeline',
    for: ['broadcast'],
    files: /^server\/pipeline\/(messages|pipeline|presentation|ladder)\.ts$/,
  },
];

/** Kinds of one contract: they know the contract and never each other. */
const SIBLINGS: readonly RegExp[] = [/^server\/upscalers\/(resize|onnx|flashvsr)\//];

/** What stands beside server/, and what of the repository it may import besides itself. */
const OUTSIDE: Readonly<Record<string, readonly string[]>> = {
  'client-demo': [],
  testing: ['server'],
  tests: ['server', 'testing', 'client-demo'],
  // The page's choice is judged by what was measured.
  bench: ['server', 'testing', 'client-demo'],
  scripts: ['testing'],
  native: [],
  models: ['testing'],
};

/** A type of the wire: the page's only imports of server/, by JSDoc. */
const PAGE_TYPES = /^server\/signaling\/protocol\.ts$/;

/** A library, and the only product code that may import it. Tests, testing/, bench/ and scripts/ stand outside. */
export const LIBRARIES: Readonly<Record<string, RegExp>> = {
  werift: /^server\/rtc\//,
  jose: /^server\/access\//,
  'node-av': /^server\/(codec|ingress|egress)\//,
  'onnxruntime-node': /^server\/upscalers\/onnx\//,
  fastify: /^server\/http\//,
  ws: /^server\/signaling\//,
  pino: /^server\/log\.ts$/,
  'prom-client': /^server\/metrics\.ts$/,
  yaml: /^server\/config\//,
  commander: /^server\/cli\//,
  uqr: /^server\/cli\//,
  'cli-progress': /^server\/cli\//,
  // A worker or child registers TypeScript's loader itself: Node 20 does not hand it down.
  tsx: /^server\/(bin|boot)\.mjs$/,
};

export interface Import {
  readonly from: string;
  /** A path within the repository, or a library's name as imported. */
  readonly to: string;
}

/** Every import of a file: static, dynamic, of types, and JSDoc's. */
export function importsOf(file: string, text: string): Import[] {
  const static_ = ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => fileName);
  const jsDoc = file.endsWith('.js') ? [...text.matchAll(/import\('([^']+)'\)/g)].map((match) => match[1] ?? '') : [];
  return [...new Set([...static_, ...jsDoc])].map((name) => ({
    from: file,
    to: name.startsWith('.') ? path.posix.normalize(path.posix.join(path.posix.dirname(file), name)) : name,
  }));
}

const isTest = (file: string): boolean => /(^|\/)test\/|\.test\.ts$/.test(file);
const rootOf = (file: string): string => file.split('/')[0] ?? '';
const testFolder = (file: string): string | undefined => /^(.*\/test)\//.exec(file)?.[1];

/** The room of a file of server/: the longest name in the table that fits. */
export function roomOf(file: string): string | undefined {
  const inside = file.replace(/^server\//, '').replace(/\.(ts|mjs|js)$/, '');
  return Object.keys(ROOMS)
    .filter((room) => inside === room || inside.startsWith(`${room}/`))
    .sort((a, b) => b.length - a.length)[0];
}

/** What is wrong with an import, in a sentence; undefined when nothing is. */
export function problemOf({ from, to }: Import): string | undefined {
  const sentence = wrongLibrary(from, to) ?? wrongTestImport(from, to) ?? wrongRoom(from, to);
  return sentence === undefined ? undefined : `${from} imports ${to}: ${sentence}`;
}

function wrongLibrary(from: string, to: string): string | undefined {
  const library = Object.keys(LIBRARIES).find((name) => to === name || to.startsWith(`${name}/`));
  if (library === undefined || !/^(server|client-demo)\//.test(from) || isTest(from)) return undefined;
  const importer = LIBRARIES[library];
  return importer?.test(from) === true ? undefined : `${library} is imported by ${String(importer)} only`;
}

/** What a test keeps beside itself is its room's own; what rooms share lies in testing/. Product code imports no test. */
function wrongTestImport(from: string, to: string): string | undefined {
  if (rootOf(from) === 'server' && !isTest(from) && /^(testing|tests|bench|scripts)\//.test(to)) {
    return 'product code imports no test code';
  }
  const folder = testFolder(to);
  if (folder === undefined || from.startsWith(`${path.posix.dirname(folder)}/`)) return undefined;
  return isTest(to) ? 'what tests of several rooms share lies in testing/' : undefined;
}

function wrongRoom(from: string, to: string): string | undefined {
  const [fromRoot, toRoot] = [rootOf(from), rootOf(to)];
  const outside = OUTSIDE[fromRoot];
  if (outside !== undefined) {
    const known = toRoot in OUTSIDE || toRoot === 'server';
    const test = isTest(from) && (toRoot === 'server' || toRoot === 'testing');
    if (!known || toRoot === fromRoot || outside.includes(toRoot) || test) return undefined;
    if (fromRoot === 'client-demo' && PAGE_TYPES.test(to)) return undefined;
    return `${fromRoot}/ does not import ${toRoot}/`;
  }
  if (fromRoot !== 'server' || isTest(from)) return undefined;
  const sibling = SIBLINGS.find((kinds) => kinds.test(from) && kinds.test(to));
  if (sibling !== undefined && sibling.exec(from)?.[1] !== sibling.exec(to)?.[1]) return 'kinds do not know each other';
  if (toRoot !== 'server') return undefined;
  const [own, other] = [roomOf(from), roomOf(to)];
  if (own === undefined) return `no room of the table holds ${from}`;
  if (other === undefined) return `no room of the table holds ${to}`;
  if (own === other || `${other}/` === `${own.split('/')[0]}/` || own === other.split('/')[0]) return undefined;
  if (ROOMS[own]?.includes(other) !== true) return `${own} may not import ${other}`;
  const entrance = ENTRANCES.find(({ of, for: rooms }) => of === other && rooms.includes(own));
  return entrance === undefined || entrance.files.test(to) ? undefined : `${own} sees only ${String(entrance.files)}`;
}

/** Circles of files, the shortest way round each; empty when there are none. */
export function circlesIn(imports: readonly Import[]): string[] {
  const next = new Map<string, string[]>();
  for (const { from, to } of imports) next.set(from, [...(next.get(from) ?? []), to]);
  const done = new Set<string>();
  const circles = new Set<string>();
  const walk = (file: string, way: readonly string[]): void => {
    const at = way.indexOf(file);
    if (at >= 0) circles.add([...way.slice(at), file].join(' -> '));
    if (at >= 0 || done.has(file)) return;
    for (const to of next.get(file) ?? []) walk(to, [...way, file]);
    done.add(file);
  };
  for (const file of next.keys()) walk(file, []);
  return [...circles];
}

/** kebab-case for TypeScript and JavaScript, snake_case for C++, CUDA and Python; tests lie in test/ or tests/. */
export function nameProblemOf(file: string): string | undefined {
  const name = path.posix.basename(file);
  if (name.startsWith('.')) return undefined;
  if (/\.(ts|mts|mjs|cjs|js)$/.test(name)) {
    if (!/^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+)*$/.test(name))
      return `${file}: TypeScript and JavaScript are kebab-case`;
    if (/\.test\.ts$/.test(name) && !/(^|\/)tests?\//.test(file))
      return `${file}: a test lies in its room's test/ or in tests/`;
    if (/\/tests\//.test(file)) return `${file}: the folder of a room's tests is called test/`;
  }
  if (/\.(h|cc|cpp|cu|cuh|py)$/.test(name) && !/^[a-z0-9]+(_[a-z0-9]+)*\.[a-z]+$/.test(name)) {
    return `${file}: C++, CUDA and Python are snake_case`;
  }
  return undefined;
}
