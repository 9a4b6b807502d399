import { z } from 'zod';
import { broadcastName } from '../../broadcast/name.ts';

/** What the API answers. Broadcast, output and source are the domain's own objects: a difference does not compile (services.ts). */

const count = z.number().int().min(0);
const rate = z.number().describe('bit/s');
const times = z.record(z.string(), z.number()).describe('ms');
const instant = z.string().describe('ISO 8601');

export const settings = z.object({
  minBitrateBps: z.number(),
  startBitrateBps: z.number(),
  maxBitrateBps: z.number(),
  lowBitrateBps: z.number(),
  audioDelayMs: z.union([z.literal('auto'), z.number()]),
  keyframeIntervalSeconds: z.number(),
  ladder: z.boolean(),
  resumeSeconds: z.number(),
  pauseAfterMs: z.number(),
});

const model = z.object({
  kind: z.enum(['resize', 'onnx', 'flashvsr']),
  label: z.string(),
  superResolution: z.boolean(),
  scale: z.number(),
  device: z.string(),
});

const stats = z.object({
  source: z.object({
    width: count,
    height: count,
    framesPerSecond: z.number(),
    bitrateBps: rate,
    codec: z.string(),
    packetsLost: z.number(),
    timestampsReplaced: count,
    reorderMs: z.number(),
    forwarded: z.boolean(),
  }),
  output: z.object({
    width: count,
    height: count,
    framesPerSecond: z.number(),
    bitrateBps: rate,
    codec: z.string(),
  }),
  model: model.extend({
    rung: count.describe('of the overload ladder; 0 is normal operation'),
    rungLabel: z.string(),
    rungCause: z.enum(['load', 'size', 'content']),
  }),
  addedLatencyMs: z.object({ p50: z.number(), p95: z.number() }),
  steps: times,
  stepsP95: times,
  drops: z.record(z.string(), count).describe('frames by reason, since the source came'),
  load: z.number().describe("0..1 of the upscaler's time"),
  pace: z.object({ delayMs: z.number(), framesLate: count }),
  viewers: count,
  audio: z.object({ present: z.boolean(), delayMs: z.number() }),
});

export const viewer = z.object({
  state: z.enum(['connecting', 'waitingKeyframe', 'playing', 'interrupted', 'closed']),
  codec: z.string().nullable(),
  own: z.boolean().describe('the publisher watches itself; not counted'),
  bitrateBps: rate,
  fractionLost: z.number(),
  roundTripMs: z.number().nullable(),
  estimateBps: z.number().nullable(),
  rendition: z.enum(['full', 'low']),
});

export const broadcast = z.object({
  name: broadcastName,
  state: z.enum(['waiting', 'live', 'paused']),
  viewers: count,
  sourceWidth: count,
  sourceHeight: count,
  outputWidth: count,
  outputHeight: count,
  startedAt: instant,
  settings,
  stats: stats.nullable(),
  sessions: z.array(viewer),
});

export const broadcasts = z.object({
  broadcasts: z.array(broadcast),
  capacity: z.object({ used: count, total: count }),
});

export const viewers = z.object({ viewers: z.array(viewer.extend({ broadcast: broadcastName })) });

const run = z.object({
  broadcast: broadcastName,
  state: z.enum(['connecting', 'running', 'failed']),
  target: z.string().describe('a file, or scheme, host and port'),
  frames: count,
  bytes: count,
  bitrateBps: rate,
  dropped: count,
  failures: count,
  error: z.object({ code: z.string(), message: z.string(), remedy: z.string() }).exactOptional(),
  retryInMs: count.exactOptional(),
});

export const output = z.object({
  name: z.string(),
  type: z.enum(['recording', 'rtmp', 'srt', 'rtsp', 'hls', 'whip', 'camera']),
  broadcast: z.string(),
  track: z.enum(['result', 'source']),
  state: z.enum(['stopped', 'waiting', 'connecting', 'running', 'failed']),
  runs: z.array(run).readonly(),
});

export const outputs = z.object({ outputs: z.array(output).readonly() });

export const recording = z.object({
  file: z.string(),
  url: z.string().describe('where it is downloaded'),
  output: z.string(),
  broadcast: z.string(),
  track: z.enum(['result', 'source']),
  container: z.enum(['mp4', 'webm']),
  startedAt: instant,
  bytes: count,
  open: z.boolean().describe('it is still being written'),
});

export const recordings = z.object({ recordings: z.array(recording).readonly() });

export const source = z.object({
  name: broadcastName,
  target: z.string().describe('scheme, host and port'),
  state: z.enum(['connecting', 'delivering', 'waiting', 'stopped']),
  connections: count,
  failuresInARow: count,
  retryInMs: count,
  lastError: z.object({ code: z.string(), message: z.string() }).optional(),
  stats: z
    .object({
      codec: z.string().optional(),
      bitrateBps: rate,
      framesPerSecond: z.number(),
      packetsLost: z.number(),
      timestampsReplaced: count,
      hasAudio: z.boolean(),
    })
    .optional(),
});

export const sources = z.object({ sources: z.array(source).readonly() });

export const status = z.object({
  version: z.string(),
  node: z.string(),
  uptimeSeconds: count,
  residentBytes: count,
  cores: count,
  processorLoad: z
    .number()
    .describe("of this process since the last question, in cores' time: 1.5 is one and a half cores"),
  draining: z.boolean(),
  accessMode: z.enum(['open', 'tokens', 'jwt', 'webhook']),
  model,
  engines: z
    .array(z.object({ device: z.string(), name: z.string(), streams: count, lost: z.boolean() }))
    .readonly()
    .describe('an engine a GPU; the processor is one, too'),
  broadcasts: count.describe('with a pipeline'),
  capacity: count,
  viewers: count,
  bitrateInBps: rate,
  bitrateOutBps: rate,
  errors: z
    .array(
      z.object({ code: z.string(), count: count, lastAt: instant, remedy: z.string().describe('what to do about it') }),
    )
    .readonly()
    .describe('met since the start, the latest first'),
});

export const kicked = z.object({ name: broadcastName, until: instant });
export const draining = z.object({ draining: z.literal(true), sessions: count.describe('that still run') });
export const reloaded = z.object({ tokens: count, ended: count.describe('sessions whose right was taken back') });

export const job = z.object({
  id: z.string(),
  name: z.string(),
  state: z.enum(['queued', 'running', 'done', 'failed']),
  bytes: count,
  createdAt: instant,
  before: count.describe('of a queued job: how many come before it'),
  framesDone: count,
  framesTotal: count.nullable().describe('null: not known'),
  result: z.object({ url: z.string(), width: count, height: count }).nullable().describe('once it is done'),
  notices: z.array(z.string()).readonly().describe('what there is to know about the file'),
  error: z
    .object({ code: z.string(), message: z.string(), remedy: z.string() })
    .nullable()
    .describe('once it has failed'),
  expiresAt: instant.nullable().describe('when it is deleted, once it has ended'),
});

export const jobs = z.object({ jobs: z.array(job).readonly() });
