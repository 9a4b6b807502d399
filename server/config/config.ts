import { existsSync, readFileSync } from 'node:fs';
import { parse as parseYaml } from 'yaml';
import { z } from 'zod';
import { parseNetwork } from '../access/client-address.ts';
import { AppError } from '../errors.ts';

/**
 * One schema for everything that can be set. Layers, later ones win: defaults, config file (YAML), environment, flags.
 * A key `media.jitterMs` is the file's `media: { jitterMs: 80 }`, the environment's FLASHVSR_MEDIA_JITTER_MS and the flag
 * `--media.jitterMs 80`; the commonest also have a short flag (SHORT_FLAGS).
 */
const port = z.number().int().min(0).max(65_535);
const positive = z.number().positive();
const count = z.number().int().positive();
const isNetwork = (text: string): boolean => parseNetwork(text) !== undefined;

const httpSchema = z.object({
  /** 127.0.0.1 unless told otherwise: browsers give no camera over plain http anyway, and nobody is exposed by accident. */
  host: z.string().min(1).default('127.0.0.1'),
  port: port.default(8080),
  /** PEM files; both or neither. */
  tlsCertificateFile: z.string().optional(),
  tlsKeyFile: z.string().optional(),
  /** Origins besides the server's own that may open a WebSocket, for example https://example.org. `*` allows all. */
  allowedOrigins: z.array(z.string()).default([]),
  /** Whose X-Forwarded-For is believed when clients are counted: false, a number of proxies, or their addresses and networks. */
  trustProxy: z
    .union(
      [
        z.literal(false),
        z.number().int().min(1).max(8),
        z.array(z.string().refine(isNetwork, 'must be an address or a network such as 10.0.0.0/8')),
      ],
      {
        error: 'must be false, a number of proxies (1 to 8) or a list of addresses and networks like ["10.0.0.0/8"]',
      },
    )
    .default(false),
});

const modelSchema = z.object({
  /** `resize`, a name from `models list`, a folder with manifest.json or an .onnx file. `auto` takes the best this machine runs. */
  name: z.string().min(1).default('auto'),
  device: z.enum(['auto', 'cpu', 'cuda', 'reference']).default('auto'),
  /** Output size / source size for `resize` and FlashVSR; other models bring their own. */
  scale: z.number().min(1).max(8).default(4),
  filter: z.enum(['bicubic', 'lanczos']).default('lanczos'),
  /** Value range of an ONNX model without a manifest. */
  valueRange: z.tuple([z.number(), z.number()]).default([0, 1]),
  threads: count.max(256).default(2),
  sparseRatio: z.number().min(0.5).max(4).default(2),
  localRange: z.number().int().min(1).max(31).default(11),
  kvRatio: z.number().min(1).max(8).default(3),
  seed: z.number().int().min(0).default(0),
  colourMatch: z.enum(['adain', 'wavelet', 'none']).default('adain'),
  precision: z.enum(['bf16', 'fp32', 'fp8']).default('bf16'),
});

const mediaSchema = z.object({
  jitterMs: z.number().int().min(10).max(1000).default(80),
  /** Waiting time in front of the upscaler after which a frame is stale. */
  maxQueueMs: z.number().int().min(5).max(2000).default(100),
  minBitrateBps: count.default(300_000),
  startBitrateBps: count.default(2_500_000),
  maxBitrateBps: count.default(6_000_000),
  lowBitrateBps: count.default(250_000),
  maxIngestBitrateBps: count.optional(),
  ingestStartBitrateBps: count.default(1_500_000),
  keyframeIntervalSeconds: positive.max(60).default(10),
  keyframeMaxRatio: z.number().min(2).max(50).default(8),
  /** Audio delay: `auto` is the model's presentation delay. */
  audioDelayMs: z.union([z.literal('auto'), z.number().int().min(0).max(5000)]).default('auto'),
  ladder: z.boolean().default(true),
  /** A source that stayed larger for so long gets a larger result; 0: the first size stays. */
  growAfterMs: z.number().int().min(0).max(600_000).default(3000),
});

const limitsSchema = z.object({
  /** `auto`: as many as the machine's cores or the model's memory allow. */
  maxBroadcasts: z.union([z.literal('auto'), count]).default('auto'),
  maxViewersPerBroadcast: count.default(50),
  maxViewers: count.default(100),
  maxConnectionsPerAddress: count.default(64),
  maxMessageBytes: count.default(128 * 1024),
  /** Requests a second and socket, averaged over ten seconds. */
  maxMessagesPerSecond: positive.default(20),
  maxSourcePixels: count.default(1920 * 1088),
  /** Of results: a source that would become larger gets a smaller scale. */
  maxResultPixels: count.default(3840 * 2160),
});

const iceSchema = z.object({
  servers: z
    .array(z.object({ urls: z.string(), username: z.string().optional(), credential: z.string().optional() }))
    .default([]),
  portRange: z
    .tuple([port.min(1024), port.min(1024)])
    .refine(([low, high]) => high >= low, 'the second port must not be below the first')
    .optional(),
  additionalHostAddresses: z.array(z.string()).default([]),
  ipv6: z.boolean().default(false),
  /** Empty: all interfaces, or 127.0.0.1 alone when http.host is a loopback address. */
  interfaceAddresses: z.array(z.string()).default([]),
});

const broadcastSchema = z.object({
  /** How long a name stays reserved for its resume token after the publisher is gone. */
  resumeSeconds: positive.max(3600).default(60),
  /** No picture for this long: state `paused`. */
  pauseAfterMs: z.number().int().min(500).default(3000),
});

const logSchema = z.object({
  level: z.enum(['trace', 'debug', 'info', 'warn', 'error', 'silent']).default('info'),
  /** `auto`: text on a terminal, JSON lines otherwise. */
  format: z.enum(['auto', 'text', 'json']).default('auto'),
});

export const configSchema = z
  .strictObject({
    http: z.strictObject(httpSchema.shape).prefault({}),
    model: z.strictObject(modelSchema.shape).prefault({}),
    media: z.strictObject(mediaSchema.shape).prefault({}),
    limits: z.strictObject(limitsSchema.shape).prefault({}),
    ice: z.strictObject(iceSchema.shape).prefault({}),
    broadcast: z.strictObject(broadcastSchema.shape).prefault({}),
    log: z.strictObject(logSchema.shape).prefault({}),
    /** Seconds that viewers get to leave after SIGTERM. */
    drainSeconds: z.number().min(0).max(600).default(3),
  })
  .superRefine((config, context) => {
    const { tlsCertificateFile, tlsKeyFile } = config.http;
    if ((tlsCertificateFile === undefined) !== (tlsKeyFile === undefined)) {
      const missing = tlsKeyFile === undefined ? 'tlsKeyFile' : 'tlsCertificateFile';
      context.addIssue({
        code: 'custom',
        path: ['http', missing],
        message: 'certificate and key file must be given together',
      });
    }
    if (config.media.minBitrateBps > config.media.maxBitrateBps) {
      context.addIssue({
        code: 'custom',
        path: ['media', 'minBitrateBps'],
        message: 'must not exceed media.maxBitrateBps',
      });
    }
  });

export type Config = z.infer<typeof configSchema>;

/** Short names for the flags people type most. */
export const SHORT_FLAGS: Readonly<Record<string, string>> = {
  host: 'http.host',
  port: 'http.port',
  model: 'model.name',
  device: 'model.device',
  scale: 'model.scale',
  'tls-cert': 'http.tlsCertificateFile',
  'tls-key': 'http.tlsKeyFile',
  'log-level': 'log.level',
};

type Tree = { [key: string]: unknown };

const SECTIONS = ['http', 'model', 'media', 'limits', 'ice', 'broadcast', 'log'] as const;

/** Every settable key as a dotted path, for environment names, help and unknown-flag messages. */
export function configKeys(): string[] {
  const keys = SECTIONS.flatMap((section) => {
    const shape = {
      http: httpSchema,
      model: modelSchema,
      media: mediaSchema,
      limits: limitsSchema,
      ice: iceSchema,
      broadcast: broadcastSchema,
      log: logSchema,
    }[section].shape;
    return Object.keys(shape).map((key) => `${section}.${key}`);
  });
  return [...keys, 'drainSeconds'];
}

/** media.jitterMs -> FLASHVSR_MEDIA_JITTER_MS */
export function environmentName(key: string): string {
  return `FLASHVSR_${key
    .replace(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll('.', '_')
    .toUpperCase()}`;
}

/** Text from environment and flags: JSON when it reads as JSON (numbers, booleans, lists), the text itself otherwise. */
function parseText(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function setPath(tree: Tree, path: string, value: unknown): void {
  const [head = '', ...rest] = path.split('.');
  if (rest.length === 0) {
    tree[head] = value;
    return;
  }
  const child = (tree[head] ??= {}) as Tree;
  setPath(child, rest.join('.'), value);
}

function merge(base: Tree, over: Tree): Tree {
  const result: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const both = isTree(result[key]) && isTree(value);
    result[key] = both ? merge(result[key] as Tree, value) : value;
  }
  return result;
}

function isTree(value: unknown): value is Tree {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function readFile(path: string): Tree {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (cause) {
    throw new AppError('config.unreadable', `The config file ${path} cannot be read: ${(cause as Error).message}`, {
      cause,
      context: { path },
    });
  }
  try {
    const tree: unknown = parseYaml(text) ?? {};
    if (!isTree(tree)) throw new Error('the top level must be a mapping of sections');
    return tree;
  } catch (cause) {
    throw new AppError('config.unreadable', `The config file ${path} is not valid: ${(cause as Error).message}`, {
      cause,
      context: { path },
    });
  }
}

function fromEnvironment(environment: NodeJS.ProcessEnv): Tree {
  const tree: Tree = {};
  for (const key of configKeys()) {
    const text = environment[environmentName(key)];
    if (text !== undefined && text !== '') setPath(tree, key, parseText(text));
  }
  return tree;
}

/** `--key value`, `--key=value`, `--flag` (true), `--no-flag` (false). */
function fromFlags(argv: readonly string[]): { tree: Tree; file: string | undefined } {
  const known = new Set(configKeys());
  const tree: Tree = {};
  let file: string | undefined;
  for (let index = 0; index < argv.length; index += 1) {
    const argument = argv[index] ?? '';
    const match = /^--(no-)?([^=]+)(?:=(.*))?$/s.exec(argument);
    if (!match)
      throw new AppError('config.invalid', `Unexpected argument "${argument}": settings are given as --key value.`);
    const [, no, name = '', inline] = match;
    const key = SHORT_FLAGS[name] ?? name;
    if (key !== 'config' && !known.has(key)) {
      throw new AppError('config.invalid', `Unknown flag --${name}; --help lists what there is.`, {
        context: { flag: name },
      });
    }
    const next = argv[index + 1];
    let value: unknown = true;
    if (no !== undefined) value = false;
    else if (inline !== undefined) value = parseText(inline);
    else if (next !== undefined && !next.startsWith('--')) {
      value = parseText(next);
      index += 1;
    }
    if (key === 'config') file = String(value);
    else setPath(tree, key, value);
  }
  return { tree, file };
}

/** zod's issues as sentences that name the key, what was wrong and what is allowed. */
function describe(error: z.ZodError): string {
  return error.issues
    .map((issue) => {
      const key = issue.path.join('.');
      if (issue.code === 'unrecognized_keys')
        return `${key === '' ? '' : `${key}: `}unknown key ${issue.keys.map((k) => `"${k}"`).join(', ')}`;
      return `${key}: ${issue.message}`;
    })
    .join('; ');
}

export interface ConfigSources {
  readonly argv?: readonly string[];
  readonly environment?: NodeJS.ProcessEnv;
  /** Read when no --config is given and it exists. */
  readonly defaultFile?: string;
}

/** @throws AppError config.invalid | config.unreadable, the message names every wrong key */
export function loadConfig({ argv = [], environment = {}, defaultFile }: ConfigSources): Config {
  const flags = fromFlags(argv);
  const path =
    flags.file ??
    environment['FLASHVSR_CONFIG'] ??
    (defaultFile !== undefined && existsSync(defaultFile) ? defaultFile : undefined);
  const file = path === undefined ? {} : readFile(path);
  const tree = merge(merge(file, fromEnvironment(environment)), flags.tree);
  const parsed = configSchema.safeParse(tree);
  if (!parsed.success)
    throw new AppError('config.invalid', `Invalid configuration: ${describe(parsed.error)}`, { cause: parsed.error });
  return parsed.data;
}

/** For the boot log: the configuration without secrets. */
export function printableConfig(config: Config): Config {
  const servers = config.ice.servers.map((server) =>
    server.credential === undefined ? server : { ...server, credential: '***' },
  );
  return { ...config, ice: { ...config.ice, servers } };
}
