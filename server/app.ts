import { availableParallelism } from 'node:os';
import path from 'node:path';
import type { Config } from './config/config.ts';
import { AppError } from './errors.ts';
import { BroadcastRegistry } from './broadcast/broadcast-registry.ts';
import { PeerSessions } from './broadcast/peer-sessions.ts';
import { broadcastSettings } from './broadcast/settings.ts';
import { broadcastCapacity } from './broadcast/capacity.ts';
import { modelSummary } from './broadcast/summary.ts';
import { createUpscaler } from './upscalers/create-upscaler.ts';
import { resolveModel } from './models/resolve.ts';
import type { UpscalerSpec } from './upscalers/spec.ts';
import { CameraKind } from './egress/camera.ts';
import { HlsFiles } from './egress/hls-files.ts';
import { HlsKind } from './egress/hls.ts';
import { OutputService, type OutputKinds } from './egress/output-service.ts';
import { RecordingLibrary } from './egress/recording-library.ts';
import { RecordingKind } from './egress/recording.ts';
import { StreamPushKind } from './egress/stream-push.ts';
import { WhipKind } from './egress/whip.ts';
import { registerApi } from './http/api/register.ts';
import { ServerStatus } from './http/api/server-status.ts';
import type { ApiServices } from './http/api/services.ts';
import { HttpAccess } from './http/authorize.ts';
import { registerHls } from './http/hls.ts';
import { readinessOf } from './http/readiness.ts';
import { registerRecordings } from './http/recordings.ts';
import { createHttpServer } from './http/server.ts';
import { registerWhip } from './http/whip/endpoints.ts';
import { SourceService } from './ingress/source-service.ts';
import { FileJobs } from './jobs/file-jobs.ts';
import type { RunJob } from './jobs/job.ts';
import type { Log } from './log.ts';
import { monotonicUs } from './media/clock.ts';
import { sessionRecorders, type SessionRecorder } from './media/session-recording.ts';
import { Metrics } from './metrics.ts';
import { engineSpecs } from './models/engine-specs.ts';
import { EnginePool } from './pipeline/engine-pool.ts';
import { PlacedPipeline } from './pipeline/placed-pipeline.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import { currentIceServers } from './rtc/ice/turn-credentials.ts';
import type { RtcOptions } from './rtc/peers.ts';
import { PeerStack } from './rtc/peer-stack.ts';
import { SignalingServer } from './signaling/server.ts';
import { Access } from './access/access.ts';
import { addressKey } from './access/limits.ts';
import { stateFolder } from './access/lan.ts';
import { TargetPolicy } from './access/target-policy.ts';
import { isLoopbackHost } from './access/address.ts';
import { TraceFile } from './trace-file.ts';
import { VERSION } from './version.ts';
import type { ModelSummary } from './broadcast/statistics.ts';

export interface App {
  /** For example http://localhost:8080. */
  readonly url: string;
  readonly model: ModelSummary;
  readonly spec: UpscalerSpec;
  readonly registry: BroadcastRegistry;
  readonly sessions: PeerSessions;
  readonly outputs: OutputService;
  readonly sources: SourceService;
  readonly metrics: Metrics;
  /**
   * Reads the configuration's tokens again; sessions that lose their right thereby end.
   * @throws AppError access.reload; then nothing has changed
   */
  reloadTokens(): Promise<{ readonly tokens: number; readonly ended: number }>;
  /**
   * Called once on a fatal device failure, after the streams' clients learned of it; the supervisor should restart the
   * process.
   */
  onFatal(listener: (error: AppError) => void): void;
  /** Takes no new sessions; /readyz answers 503, and every client is informed that the server stops within this time. */
  drain(withinSeconds: number): void;
  /** Ends everything: sessions, workers, sockets. Idempotent. */
  close(): Promise<void>;
}

/** A server that only this machine can reach offers its loopback address alone. */
function rtcOptions({ ice, media, http }: Config): RtcOptions {
  const onlyLoopback = ice.interfaceAddresses.length === 0 && isLoopbackHost(http.host);
  return { ...ice, ...media, ...(onlyLoopback ? { interfaceAddresses: ['127.0.0.1'] } : {}) };
}

/** debug.recordFolder: every publisher's packets into a file. */
function recorders({ debug, media }: Config, log: Log): (() => SessionRecorder) | undefined {
  if (debug.recordFolder === undefined) return undefined;
  log.warn({ folder: debug.recordFolder }, 'debug.recording');
  const header = { version: VERSION, jitterMs: media.jitterMs };
  const onStopped = (file: string, reason: string) => log.warn({ file, reason }, 'debug.recordingStopped');
  return sessionRecorders(debug.recordFolder, header, { maxBytes: debug.recordMaxBytes, onStopped });
}

/** debug.traceFile: the steps of every frame into a file. */
function traceFile({ debug }: Config, log: Log): TraceFile | undefined {
  const file = debug.traceFile;
  if (file === undefined) return undefined;
  return new TraceFile(file, (reason) => log.warn({ file, reason }, 'trace.stopped'));
}

/** The first fatal error, for a listener that may come later than the error. */
class FirstError {
  readonly #onFirst: () => void;
  #error: AppError | undefined;
  #listener: (error: AppError) => void = () => undefined;

  constructor(onFirst: () => void) {
    this.#onFirst = onFirst;
  }

  report(error: AppError): void {
    if (this.#error !== undefined) return;
    this.#error = error;
    this.#onFirst();
    this.#listener(error);
  }

  listen(listener: (error: AppError) => void): void {
    this.#listener = listener;
    if (this.#error !== undefined) listener(this.#error);
  }
}

/** With `model.devices: auto` a GPU that cannot hold the model is left out while another one can. */
async function openEngines({ model }: Config, spec: UpscalerSpec, log: Log): Promise<EnginePool> {
  const specs = await engineSpecs(spec, model.devices);
  const leaveOut = (failed: UpscalerSpec, { code, message }: AppError): void =>
    log.warn(
      { device: failed.kind === 'flashvsr' ? failed.deviceIndex : undefined, code, reason: message },
      'engine.leftOut',
    );
  return await EnginePool.open(specs, { open: createUpscaler, ...(model.devices === 'auto' ? { leaveOut } : {}) });
}

interface RegistryParts {
  readonly log: Log;
  readonly spec: UpscalerSpec;
  readonly pool: EnginePool;
  readonly model: ModelSummary;
  readonly metrics: Metrics;
  readonly trace: TraceFile | undefined;
  readonly fatal: FirstError;
}

/** The broadcasts; each one's pipeline is placed on an engine of the pool. */
function createRegistry(config: Config, parts: RegistryParts): BroadcastRegistry {
  const { media, limits } = config;
  const { log, spec, pool, model, metrics, trace, fatal } = parts;
  return new BroadcastRegistry({
    settings: broadcastSettings(config),
    limits,
    log,
    metrics,
    model,
    nowUs: monotonicUs,
    // A lost engine's streams are on the others then.
    get capacity() {
      return broadcastCapacity(limits, spec, { cores: availableParallelism(), engines: pool.size });
    },
    onEngineFailed: (error) => fatal.report(error),
    onFrameSent: trace && ((name, frame, stamps) => trace.frame(name, frame, stamps)),
    createPipeline: (name, listener, settings) =>
      new PlacedPipeline(
        pool,
        settings,
        listener,
        (placement, placed, { keyframeIntervalSeconds, ladder }, onClosed) => {
          const { spec: upscaler, slot: engineSlot } = placement;
          const options = { name, upscaler, engineSlot, ...media, ...limits, keyframeIntervalSeconds, ladder };
          return new Pipeline(options, placed, onClosed);
        },
      ),
  });
}

/** A target that is away now may come later: only one that is never permitted is refused. @throws AppError target.refused */
async function checkTarget(policy: TargetPolicy, url: string): Promise<void> {
  try {
    await policy.resolve(url, [new URL(url).protocol]);
  } catch (thrown) {
    if (AppError.from(thrown).code !== 'target.unreachable') throw thrown;
  }
}

/** What cannot be closed is logged and does not keep the rest open. */
async function settled(log: Log, closing: readonly Promise<void>[]): Promise<void> {
  for (const result of await Promise.allSettled(closing)) {
    if (result.status === 'rejected') log.error({ err: AppError.from(result.reason) }, 'server.closeFailed');
  }
}

export interface AppOptions {
  /** Upscales the file of a job; absent: there is no /api/jobs. */
  readonly runJob?: RunJob;
  /** `access.tokens` as the configuration has them now; absent: they cannot be read again. @throws AppError config.* */
  readonly readTokens?: () => Config['access']['tokens'];
}

interface ReloadParts {
  readonly access: Access;
  readonly sessions: PeerSessions;
  readonly readTokens: AppOptions['readTokens'];
  readonly log: Log;
}

/** @throws AppError access.reload */
async function reloadTokens({ access, sessions, readTokens, log }: ReloadParts): ReturnType<App['reloadTokens']> {
  if (readTokens === undefined) throw new AppError('access.reload', 'This server was started without a configuration.');
  let tokens;
  try {
    tokens = readTokens();
  } catch (thrown) {
    const { message } = AppError.from(thrown);
    throw new AppError('access.reload', `The tokens cannot be read again. ${message}`, { cause: thrown });
  }
  const lost = access.replaceTokens(tokens);
  const removed = new AppError('access.removed', 'The token that this session was made with has been removed.');
  const ended = await sessions.endLost(lost, removed);
  log.info({ tokens: tokens.length, ended }, 'access.reloaded');
  return { tokens: tokens.length, ended };
}

/**
 * Composes the server: the only place that constructs everything. `main.ts` runs it as a program, tests and benchmarks
 * inside their own process.
 * @throws AppError for a wrong model, certificate or port, before anything listens
 */
export async function startApp(config: Config, log: Log, { readTokens, runJob }: AppOptions = {}): Promise<App> {
  const spec = await resolveModel(config, undefined, (rung, reason) =>
    log.info({ rung, reason }, 'ladder.rungLeftOut'),
  );
  const pool = await openEngines(config, spec, log);
  const model = modelSummary(pool.info);
  const metrics = new Metrics();
  const rtc = new PeerStack(rtcOptions(config), recorders(config, log));
  rtc.onError((error) => {
    metrics.error(error.code);
    log.warn({ code: error.code, reason: error.message }, 'rtc.error');
  });

  const trace = traceFile(config, log);
  const fatal = new FirstError(() => registry.drain());
  const registry = createRegistry(config, { log, spec, pool, model, metrics, trace, fatal });
  const iceServers = () => currentIceServers(config.ice.servers);
  const sessions = new PeerSessions({ registry, rtc, metrics, model, iceServers, addressKey });
  const policy = new TargetPolicy(config.targets);
  const access = new Access(config.access, { policy, onLoopback: isLoopbackHost(config.http.host), log });
  const { interfaceAddresses } = config.ice;
  const push = new StreamPushKind(policy);
  const kinds: OutputKinds = {
    recording: new RecordingKind(),
    hls: new HlsKind(),
    camera: new CameraKind(),
    rtmp: push,
    srt: push,
    rtsp: push,
    whip: new WhipKind({ rtc, policy, registry, interfaceAddresses, log }),
  };
  const outputs = new OutputService({ registry, log, metrics, kinds });
  const sources = new SourceService({
    ...{ registry, log, metrics, nowUs: monotonicUs, rtc, policy, interfaceAddresses },
    ...{ allow: config.targets.allow, maxPixels: config.limits.maxSourcePixels },
  });
  metrics.observe(() => ({
    ...registry.metricsSnapshot(),
    outputs: outputs.snapshot(),
    sources: sources.snapshot(),
    engines: pool.snapshot(),
  }));

  const http = await createHttpServer({
    config,
    access,
    log,
    readiness: () => readinessOf(registry.draining, pool.snapshot()),
    metrics: async () => ({ contentType: metrics.contentType, body: await metrics.text() }),
    onRefused: (what, why) => metrics.refused(what, why),
    state: () => ({
      version: VERSION,
      node: process.version,
      uptimeSeconds: Math.round(process.uptime()),
      residentBytes: process.memoryUsage.rss(),
      model,
      engines: pool.snapshot(),
      domain: registry,
      access,
      outputs,
      sources,
      rtc,
      signaling,
      whip,
    }),
  });
  const httpAccess = new HttpAccess(access, config.http);
  const recordings = new RecordingLibrary(outputs);
  registerRecordings(http.app, httpAccess, recordings, ({ raw }, ms) => http.mayLast(raw, ms));
  registerHls(http.app, httpAccess, new HlsFiles(() => outputs.configsOf('hls')));
  const drain = (withinSeconds: number): void => {
    registry.drain();
    signaling.drain(withinSeconds);
  };
  const reload = (): ReturnType<App['reloadTokens']> => reloadTokens({ access, sessions, readTokens, log });
  const status = new ServerStatus({
    model,
    accessMode: access.mode,
    draining: () => registry.draining,
    engines: () => pool.snapshot(),
    snapshot: () => registry.metricsSnapshot(),
    errors: () => metrics.errorCounts(),
  });
  const jobs =
    runJob &&
    new FileJobs({
      folder: config.jobs.folder ?? path.join(stateFolder(), 'jobs'),
      ...{ settings: config.jobs, run: runJob, log },
    });
  const services: ApiServices = {
    server: {
      status: () => status.status(),
      drain: (withinSeconds) => {
        log.info({ withinSeconds }, 'server.draining');
        drain(withinSeconds);
        return sessions.size;
      },
      reloadTokens: reload,
    },
    ...{ broadcasts: registry, outputs, sources, recordings, jobs, sessions, access },
    checkTarget: (url) => checkTarget(policy, url),
  };
  registerApi(http.app, {
    ...{ services, access, http: config.http, log },
    folder: config.api.folder ?? path.join(stateFolder(), 'outputs'),
    mayLast: ({ raw }) => http.mayLast(raw, config.jobs.uploadSeconds * 1000),
    onRefused: (what, why) => metrics.refused(what, why),
  });
  const whip = registerWhip(http.app, {
    sessions,
    access,
    config,
    log,
    onRefused: (what, why) => metrics.refused(what, why),
  });
  const signaling = new SignalingServer({
    server: http.server,
    sessions,
    access,
    config,
    log,
    serverName: `FlashVSR Live ${VERSION}`,
    observer: {
      onConnections: (open) => metrics.connections(open),
      onError: (code) => metrics.error(code),
      onRefused: (what, why) => metrics.refused(what, why),
    },
  });

  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    registry.drain();
    // Their files are completed while the broadcasts are there.
    await settled(log, [outputs.close()]);
    await settled(log, [sources.close(), ...(jobs === undefined ? [] : [jobs.close()])]);
    await settled(log, [registry.close()]);
    await settled(log, [signaling.close(), http.close()]);
    await settled(log, [rtc.close(), pool.close(), ...(trace === undefined ? [] : [trace.close()])]);
  };
  try {
    for (const output of config.outputs) outputs.start(output);
    const url = await http.listen();
    jobs?.resume();
    for (const source of config.sources) sources.start(source);
    return {
      url,
      model,
      spec,
      registry,
      sessions,
      outputs,
      sources,
      metrics,
      onFatal: (listener) => fatal.listen(listener),
      reloadTokens: reload,
      drain,
      close: () => (closing ??= close()),
    };
  } catch (error) {
    await close();
    throw error;
  }
}
