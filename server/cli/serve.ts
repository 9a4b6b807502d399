import { setTimeout as delay } from 'node:timers/promises';
import { startApp, type App } from '../app.ts';
import { loadConfig, printableConfig, type Config } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { EXIT_CONFIG, EXIT_RESTART, FATAL_CLOSE_MS, leaveAfter, leaveNow } from '../exit.ts';
import { createLog, type Log } from '../log.ts';
import { modelHelp } from '../models/catalogue.ts';
import { VERSION } from '../version.ts';
import { jobRunner } from './job-runner.ts';
import { answeringAt, lanBanner, lanStart } from './lan-start.ts';
import { reportError } from './report.ts';
import { serveHelp } from './serve-help.ts';

/** The longest that closing may take after the drain. */
const STOP_CLOSE_MS = 4500;

/** `npm start`: runs the server until a signal or a fatal error ends the process. */
export async function serve(argv: readonly string[]): Promise<void> {
  try {
    if (argv.includes('--help')) process.stdout.write(`${serveHelp()}\n`);
    else if (wantsModelList(argv)) process.stdout.write(`${modelHelp()}\n`);
    else await run(argv);
  } catch (thrown) {
    reportError(thrown);
    leaveNow(EXIT_CONFIG);
  }
}

async function run(argv: readonly string[]): Promise<void> {
  const load = (): Config => loadConfig({ argv, environment: process.env, defaultFile: 'flashvsr.yaml' });
  await runServer(load(), load);
}

/**
 * Until a signal or a fatal error ends the process; resolves when it listens.
 * @param given as loadConfig() has it: what `--lan` stands for is filled in here, for every command that serves
 * @param reload reads it again, for its tokens; absent: they stay
 * @throws AppError as startApp() and lanStart()
 */
export async function runServer(given: Config, reload?: () => Config): Promise<App> {
  const lan = lanStart(given);
  const config = lan?.config ?? given;
  const log = createLog(config.log);
  log.debug({ config: printableConfig(config) }, 'config.loaded');
  const readTokens = reload && ((): Config['access']['tokens'] => withLan(reload()).access.tokens);
  const runJob = jobRunner(config);
  const app = await startApp(config, log, { runJob, ...(readTokens !== undefined && { readTokens }) });
  process.stdout.write(banner(app, lan === undefined));
  if (lan !== undefined)
    process.stdout.write(lanBanner(app.url, lan.keys, process.stdout.isTTY, answeringAt(config.http.host)));
  log.info({ url: app.url, model: app.model.label, device: app.model.device }, 'server.listening');
  endOnSignal(app, log, config.drainSeconds);
  endOnFailure(app, log);
  // At a terminal it means that the terminal is gone, and ends the process.
  if (![process.stdin, process.stdout, process.stderr].some(({ isTTY }) => isTTY)) reloadOnHangUp(app, log);
  return app;
}

function withLan(config: Config): Config {
  return lanStart(config)?.config ?? config;
}

/** SIGHUP as supervisors send it (`systemctl reload`). */
function reloadOnHangUp(app: App, log: Log): void {
  process.on('SIGHUP', () => {
    app.reloadTokens().catch((thrown: unknown) => {
      const { code, message, remedy } = AppError.from(thrown);
      log.warn({ code, reason: message, remedy }, 'access.reloadFailed');
    });
  });
}

function endOnSignal(app: App, log: Log, drainSeconds: number): void {
  let stopping = false;
  const onSignal = (signal: NodeJS.Signals): void => {
    // A second signal ends the process without waiting for sessions or devices.
    if (stopping) leaveNow(EXIT_RESTART);
    stopping = true;
    log.info({ signal, drainSeconds }, 'server.draining');
    void stop(app, log, drainSeconds);
  };
  process.on('SIGTERM', onSignal);
  process.on('SIGINT', onSignal);
}

/** Ends the process within `drainSeconds` + STOP_CLOSE_MS, whatever a client, a pipeline or a device does. */
async function stop(app: App, log: Log, drainSeconds: number): Promise<void> {
  app.drain(drainSeconds);
  const end = performance.now() + drainSeconds * 1000;
  while (app.sessions.size > 0 && performance.now() < end) await delay(100);
  const closed = app.close().then(() => log.info({}, 'server.stopped'));
  leaveAfter(closed, { code: 0, mostMs: STOP_CLOSE_MS });
}

function endOnFailure(app: App, log: Log): void {
  // Clients learn the reason before the process ends; a device or a client that hangs may not hold it up.
  const leave = (): void => leaveAfter(app.close(), { code: EXIT_RESTART, mostMs: FATAL_CLOSE_MS });
  app.onFatal((error) => {
    log.fatal({ code: error.code, reason: error.message, remedy: error.remedy }, 'engine.failed');
    leave();
  });
  // An unhandled rejection in one stream must not end the others; it is logged and counted.
  process.on('unhandledRejection', (reason) => {
    const error = AppError.from(reason);
    app.metrics.error(error.code);
    log.error({ code: error.code, reason: error.message, stack: error.stack }, 'process.unhandledRejection');
  });
  process.on('uncaughtException', (error) => {
    log.fatal({ reason: error.message, stack: error.stack }, 'process.uncaughtException');
    leave();
  });
}

/** `--model` with no value, or `--model list`. */
function wantsModelList(argv: readonly string[]): boolean {
  const at = argv.indexOf('--model');
  const name = argv[at + 1];
  return argv.includes('--model=list') || (at >= 0 && (name === undefined || name === 'list' || name.startsWith('--')));
}

/** @param page false: its address alone opens nothing, links with keys follow */
function banner({ url, model }: App, page: boolean): string {
  const what = model.superResolution ? 'super-resolution' : 'plain resize, no super-resolution';
  return [
    '',
    `  FlashVSR Live ${VERSION}`,
    ...(page ? [`  page    ${url}`] : []),
    `  model   ${model.label} (x${model.scale}, ${what})`,
    `  device  ${model.device}`,
    '',
    '',
  ].join('\n');
}
