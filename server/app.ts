import { availableParallelism } from 'node:os';
import type { Config } from './config/config.ts';
import type { AppError } from './errors.ts';
import { BroadcastRegistry } from './broadcast/broadcast-registry.ts';
import { PeerSessions } from './broadcast/peer-sessions.ts';
import { broadcastSettings } from './broadcast/settings.ts';
import { broadcastCapacity } from './broadcast/capacity.ts';
import { modelSummary } from './broadcast/summary.ts';
import { createUpscaler } from './upscalers/create-upscaler.ts';
import { resolveModel } from './models/resolve.ts';
import type { UpscalerSpec } from './upscalers/spec.ts';
import { createHttpServer } from './http/server.ts';
import type { Log } from './log.ts';
import { monotonicUs } from './media/clock.ts';
import { Metrics } from './metrics.ts';
import { EnginePool } from './pipeline/engine-pool.ts';
import { Pipeline } from './pipeline/pipeline.ts';
import type { RtcOptions } from './rtc/peers.ts';
import { WeriftStack } from './rtc/werift-stack.ts';
import { SignalingServer } from './signaling/server.ts';
import { addressKey } from './access/limits.ts';
import { isLoopbackHost } from './access/origin.ts';
import { VERSION } from './version.ts';
import type { ModelSummary } from './broadcast/statistics.ts';

export interface App {
  /** For example http://localhost:8080. */
  readonly url: string;
  readonly model: ModelSummary;
  readonly spec: UpscalerSpec;
  readonly registry: BroadcastRegistry;
  readonly sessions: PeerSessions;
  readonly metrics: Metrics;
  /**
   * Called once on a fatal device failure, after the streams' clients learned of it; the supervisor should restart the
   * process.
   */
  onFatal(listener: (error: AppError) => void): void;
  /** Takes no new sessions; /readyz answers 503. */
  drain(): void;
  /** Ends everything: sessions, workers, sockets. Idempotent. */
  close(): Promise<void>;
}

/** A server that only this machine can reach offers its loopback address alone. */
function rtcOptions({ ice, media, http }: Config): RtcOptions {
  const onlyLoopback = ice.interfaceAddresses.length === 0 && isLoopbackHost(http.host);
  return { ...ice, ...media, ...(onlyLoopback ? { interfaceAddresses: ['127.0.0.1'] } : {}) };
}

/**
 * Composes the server: the only place that constructs everything. `main.ts` runs it as a program, tests and benchmarks
 * inside their own process.
 * @throws AppError for a wrong model, certificate or port, before anything listens
 */
export async function startApp(config: Config, log: Log): Promise<App> {
  const spec = await resolveModel(config, undefined, (rung, reason) =>
    log.info({ rung, reason }, 'ladder.rungLeftOut'),
  );
  const pool = await EnginePool.open([spec], createUpscaler);
  const model = modelSummary(pool.info);
  const metrics = new Metrics();
  const rtc = new WeriftStack(rtcOptions(config));
  rtc.onError((error) => {
    metrics.error(error.code);
    log.warn({ code: error.code, reason: error.message }, 'rtc.error');
  });

  const { media, limits } = config;
  const fatal: { error?: AppError; listener?: (error: AppError) => void } = {};
  const onEngineFailed = (error: AppError): void => {
    if (fatal.error !== undefined) return;
    fatal.error = error;
    registry.drain();
    fatal.listener?.(error);
  };
  const registry = new BroadcastRegistry({
    settings: broadcastSettings(config),
    limits,
    log,
    metrics,
    model,
    nowUs: monotonicUs,
    capacity: broadcastCapacity(limits, spec, { cores: availableParallelism(), engines: pool.size }),
    onEngineFailed,
    createPipeline: (name, listener, { keyframeIntervalSeconds, ladder }) => {
      const placement = pool.place();
      const { spec: upscaler, slot: engineSlot } = placement;
      const options = { name, upscaler, engineSlot, ...media, ...limits, keyframeIntervalSeconds, ladder };
      return new Pipeline(options, placement.guard(listener), () => placement.release());
    },
  });
  const sessions = new PeerSessions({ registry, rtc, metrics, model, iceServers: config.ice.servers, addressKey });
  metrics.observe(() => registry.metricsSnapshot());

  const http = await createHttpServer({
    config,
    log,
    readiness: () =>
      registry.draining ? { ready: false, reason: 'draining' } : { ready: true, reason: 'accepting sessions' },
    metrics: async () => ({ contentType: metrics.contentType, body: await metrics.text() }),
  });
  const signaling = new SignalingServer({
    server: http.server,
    sessions,
    config,
    log,
    serverName: `FlashVSR Live ${VERSION}`,
    observer: { onConnections: (open) => metrics.connections(open), onError: (code) => metrics.error(code) },
  });

  let closing: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    registry.drain();
    await registry.close();
    await signaling.close();
    await http.close();
    await rtc.close();
    await pool.close();
  };
  try {
    const url = await http.listen();
    return {
      url,
      model,
      spec,
      registry,
      sessions,
      metrics,
      onFatal: (listener) => {
        fatal.listener = listener;
        if (fatal.error !== undefined) listener(fatal.error);
      },
      drain: () => registry.drain(),
      close: () => (closing ??= close()),
    };
  } catch (error) {
    await close();
    throw error;
  }
}
