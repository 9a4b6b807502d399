import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from 'prom-client';
import type { ErrorCode } from './errors.ts';
import type { TimedStep } from './media/steps.ts';
import type { DropReason } from './media/types.ts';

/** `added`: the frame complete in to its first packet out. */
export type FrameStep = TimedStep | 'added';

/** What was refused. Add kinds here, so that the label stays a short list. */
export type Refused =
  | 'broadcast'
  | 'viewer'
  | 'connection'
  | 'request'
  | 'whip'
  | 'whep'
  | 'upgrade'
  | 'websocket'
  | 'message'
  | 'keyframe-request'
  | 'handshake'
  | 'packet';
/**
 * limits: a limit of the whole server; address: the share of one address; access: not open to this client (origin, network, credential);
 * protocol: malformed or out of order; name: taken, or not live yet; budget: too many in a time.
 */
export type RefusalReason = 'limits' | 'address' | 'access' | 'protocol' | 'name' | 'draining' | 'budget';

const REASONS: Partial<Record<ErrorCode, RefusalReason>> = {
  'request.malformed': 'protocol',
  'request.version': 'protocol',
  'request.state': 'protocol',
  'request.unknownSession': 'protocol',
  'request.notFound': 'protocol',
  'request.method': 'protocol',
  'request.notAcceptable': 'protocol',
  'request.precondition': 'protocol',
  'request.preconditionRequired': 'protocol',
  'request.mediaType': 'protocol',
  'request.range': 'protocol',
  'sdp.invalid': 'protocol',
  'sdp.unsupported': 'protocol',
  'request.origin': 'access',
  'request.unauthorized': 'access',
  'request.forbidden': 'access',
  'access.kicked': 'access',
  'access.unavailable': 'access',
  'request.tooLarge': 'limits',
  'request.tooMany': 'budget',
  'server.draining': 'draining',
};

/** The domain counts these itself, as `broadcast` or `viewer`. */
const DOMAIN_REASONS: Partial<Record<ErrorCode, RefusalReason>> = {
  'server.full': 'limits',
  'engine.full': 'limits',
  'engine.memory': 'limits',
  'broadcast.nameTaken': 'name',
  'broadcast.notLive': 'name',
};

/** @returns undefined for errors that refuse nothing, or that the domain counts itself (server.full, broadcast.nameTaken) */
export function refusalReason(code: ErrorCode): RefusalReason | undefined {
  return REASONS[code];
}

/** Of a request that asks for one session: what the domain refuses is the request's refusal, too. */
export function sessionRefusalReason(code: ErrorCode): RefusalReason | undefined {
  return REASONS[code] ?? DOMAIN_REASONS[code];
}

const MS_BUCKETS = [0.5, 1, 2, 4, 8, 12, 16, 24, 33, 50, 75, 100, 150, 250, 500, 1000, 2500];

/** What a scrape asks the domain for at that moment. */
export interface MetricsSnapshot {
  readonly broadcasts: number;
  readonly broadcastCapacity: number;
  readonly viewers: number;
  readonly bitrateInBps: number;
  readonly bitrateOutBps: number;
  readonly queueDepthFrames: number;
  readonly pipelines: readonly { readonly broadcast: string; readonly rung: number; readonly delayMs: number }[];
  readonly outputs: readonly OutputSnapshot[];
  readonly sources: readonly SourceSnapshot[];
  readonly engines: readonly { readonly device: string; readonly streams: number; readonly lost: boolean }[];
}

/** How often an error was met, and when last (ISO 8601). */
export interface ErrorCount {
  readonly code: ErrorCode;
  readonly count: number;
  readonly lastAt: string;
}

/** stopped: by its setting; waiting: no broadcast that it follows is live. */
const OUTPUT_STATES = ['stopped', 'waiting', 'connecting', 'running', 'failed'] as const;
/** waiting: until it is tried again. */
const SOURCE_STATES = ['connecting', 'delivering', 'waiting', 'stopped'] as const;

/** One pull source; its name is its broadcast's. */
export interface SourceSnapshot {
  readonly source: string;
  readonly state: (typeof SOURCE_STATES)[number];
}

/** One configured output: on how many broadcasts it is in which state, and what goes out. */
export interface OutputSnapshot {
  readonly output: string;
  readonly type: string;
  /** Of its broadcasts, the one that needs a look first. */
  readonly state: (typeof OUTPUT_STATES)[number];
  readonly states: Readonly<Record<'connecting' | 'running' | 'failed', number>>;
  readonly bitrateBps: number;
}

/**
 * /metrics. Names carry their unit; broadcast names are a label only where their number is bounded by
 * `limits.maxBroadcasts`.
 */
export class Metrics {
  readonly registry = new Registry();
  #snapshot: () => MetricsSnapshot = () => ({
    broadcasts: 0,
    broadcastCapacity: 0,
    viewers: 0,
    bitrateInBps: 0,
    bitrateOutBps: 0,
    queueDepthFrames: 0,
    pipelines: [],
    outputs: [],
    sources: [],
    engines: [],
  });

  readonly #steps: Histogram<'step'>;
  readonly #drops: Counter<'reason'>;
  readonly #frames: Counter<'stage'>;
  readonly #keyframes: Counter;
  readonly #joins: Counter<'role'>;
  readonly #errorCounts = new Map<ErrorCode, ErrorCount>();
  readonly #errors: Counter<'code'>;
  readonly #refused: Counter<'what' | 'why'>;
  readonly #connections: Gauge;
  readonly #outputFailures: Counter<'output' | 'code'>;
  readonly #sourceFailures: Counter<'source' | 'code'>;

  constructor() {
    const registers = [this.registry];
    // Event-loop lag comes with the defaults (nodejs_eventloop_lag_*), as do memory and CPU.
    collectDefaultMetrics({ register: this.registry });
    const gauge = (name: string, help: string, read: (snapshot: MetricsSnapshot) => number): void => {
      const snapshot = (): MetricsSnapshot => this.#snapshot();
      new Gauge({
        name,
        help,
        registers,
        collect() {
          this.set(read(snapshot()));
        },
      });
    };
    gauge('flashvsr_broadcasts', 'Broadcasts with a running pipeline', (s) => s.broadcasts);
    gauge('flashvsr_broadcast_slots', 'Broadcasts this server takes at once', (s) => s.broadcastCapacity);
    gauge('flashvsr_viewers', 'Connected viewers', (s) => s.viewers);
    gauge(
      'flashvsr_ingest_bits_per_second',
      'Video bit rate of all publishers over the last second',
      (s) => s.bitrateInBps,
    );
    gauge('flashvsr_egress_bits_per_second', 'Bit rate to all viewers over the last second', (s) => s.bitrateOutBps);
    gauge('flashvsr_upscaler_queue_frames', 'Frames waiting in front of the upscalers', (s) => s.queueDepthFrames);
    const snapshot = (): MetricsSnapshot => this.#snapshot();
    new Gauge({
      name: 'flashvsr_ladder_rung',
      help: 'Overload ladder: 0 is the full model, higher is cheaper',
      labelNames: ['broadcast'],
      registers,
      collect() {
        this.reset();
        for (const { broadcast, rung } of snapshot().pipelines) this.set({ broadcast }, rung);
      },
    });
    new Gauge({
      name: 'flashvsr_presentation_delay_milliseconds',
      help: "From a picture's arrival to its leaving the pace stage; measured for models that work in chunks",
      labelNames: ['broadcast'],
      registers,
      collect() {
        this.reset();
        for (const { broadcast, delayMs } of snapshot().pipelines) this.set({ broadcast }, delayMs);
      },
    });
    new Gauge({
      name: 'flashvsr_output_runs',
      help: 'Broadcasts that a configured output is connecting for, running for, or waiting to try again for',
      labelNames: ['output', 'type', 'state'],
      registers,
      collect() {
        this.reset();
        for (const { output, type, states } of snapshot().outputs)
          for (const [state, runs] of Object.entries(states)) this.set({ output, type, state }, runs);
      },
    });
    new Gauge({
      name: 'flashvsr_output_state',
      help: 'State of a configured output: 1 for the state that it is in, of several broadcasts the one that needs a look first',
      labelNames: ['output', 'type', 'state'],
      registers,
      collect() {
        this.reset();
        for (const { output, type, state: now } of snapshot().outputs)
          for (const state of OUTPUT_STATES) this.set({ output, type, state }, Number(state === now));
      },
    });
    new Gauge({
      name: 'flashvsr_source_state',
      help: 'State of a pull source: 1 for the state that it is in',
      labelNames: ['source', 'state'],
      registers,
      collect() {
        this.reset();
        for (const { source, state: now } of snapshot().sources)
          for (const state of SOURCE_STATES) this.set({ source, state }, Number(state === now));
      },
    });
    new Gauge({
      name: 'flashvsr_engine_up',
      help: '1 for an engine that works, 0 for one whose device is lost until the process starts again',
      labelNames: ['device'],
      registers,
      collect() {
        this.reset();
        for (const { device, lost } of snapshot().engines) this.set({ device }, Number(!lost));
      },
    });
    new Gauge({
      name: 'flashvsr_engine_streams',
      help: 'Streams placed on an engine',
      labelNames: ['device'],
      registers,
      collect() {
        this.reset();
        for (const { device, streams } of snapshot().engines) this.set({ device }, streams);
      },
    });
    new Gauge({
      name: 'flashvsr_output_bits_per_second',
      help: 'Bit rate of a configured output over the last second',
      labelNames: ['output', 'type'],
      registers,
      collect() {
        this.reset();
        for (const { output, type, bitrateBps } of snapshot().outputs) this.set({ output, type }, bitrateBps);
      },
    });
    this.#outputFailures = new Counter({
      name: 'flashvsr_output_failures_total',
      help: 'Runs of a configured output that failed, by catalogue code',
      labelNames: ['output', 'code'],
      registers,
    });
    this.#sourceFailures = new Counter({
      name: 'flashvsr_source_failures_total',
      help: 'Connections of a pull source that failed or ended, by catalogue code',
      labelNames: ['source', 'code'],
      registers,
    });
    this.#steps = new Histogram({
      name: 'flashvsr_step_milliseconds',
      help: 'Time of one frame in each step; "added" is complete frame in to first packet out',
      labelNames: ['step'],
      buckets: MS_BUCKETS,
      registers,
    });
    this.#drops = new Counter({
      name: 'flashvsr_frames_dropped_total',
      help: 'Frames dropped, by reason',
      labelNames: ['reason'],
      registers,
    });
    this.#frames = new Counter({
      name: 'flashvsr_frames_total',
      help: 'Frames received complete, and frames sent upscaled',
      labelNames: ['stage'],
      registers,
    });
    this.#keyframes = new Counter({ name: 'flashvsr_encoder_keyframes_total', help: 'Keyframes encoded', registers });
    this.#joins = new Counter({
      name: 'flashvsr_sessions_total',
      help: 'Sessions started',
      labelNames: ['role'],
      registers,
    });
    this.#connections = new Gauge({ name: 'flashvsr_websocket_connections', help: 'Open WebSockets', registers });
    this.#refused = new Counter({
      name: 'flashvsr_refused_total',
      help: 'What the server refused, by kind and reason (a limit, the share of one address, the protocol, a name taken, draining)',
      labelNames: ['what', 'why'],
      registers,
    });
    this.#errors = new Counter({
      name: 'flashvsr_errors_total',
      help: 'Errors by catalogue code, requests refused included',
      labelNames: ['code'],
      registers,
    });
  }

  /** A request or packet that was refused, not by its own fault alone: the numbers that an operator sizes limits by. */
  refused(what: Refused, why: RefusalReason, count = 1): void {
    if (count > 0) this.#refused.inc({ what, why }, count);
  }

  /** Sets the source of the gauges, asked at each scrape. */
  observe(snapshot: () => MetricsSnapshot): void {
    this.#snapshot = snapshot;
  }

  step(step: FrameStep, milliseconds: number): void {
    this.#steps.observe({ step }, Math.max(0, milliseconds));
  }

  dropped(reason: DropReason, count: number): void {
    if (count > 0) this.#drops.inc({ reason }, count);
  }

  frame(stage: 'received' | 'sent'): void {
    this.#frames.inc({ stage });
  }

  keyframes(count: number): void {
    if (count > 0) this.#keyframes.inc(count);
  }

  session(role: 'publisher' | 'viewer'): void {
    this.#joins.inc({ role });
  }

  error(code: ErrorCode): void {
    this.#errors.inc({ code });
    const known = this.#errorCounts.get(code);
    this.#errorCounts.set(code, { code, count: (known?.count ?? 0) + 1, lastAt: new Date().toISOString() });
  }

  /** Since the start, the latest first. */
  errorCounts(): ErrorCount[] {
    return [...this.#errorCounts.values()].sort((a, b) => b.lastAt.localeCompare(a.lastAt));
  }

  outputFailed(output: string, code: ErrorCode): void {
    this.#outputFailures.inc({ output, code });
  }

  sourceFailed(source: string, code: ErrorCode): void {
    this.#sourceFailures.inc({ source, code });
  }

  connections(open: number): void {
    this.#connections.set(open);
  }

  async text(): Promise<string> {
    return this.registry.metrics();
  }

  get contentType(): string {
    return this.registry.contentType;
  }
}
