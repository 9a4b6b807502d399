import { startApp, type App } from '../server/app.ts';
import { loadConfig } from '../server/config/config.ts';
import { createLog } from '../server/log.ts';

/** The server in this process with `resize` as the model, for clients of WHIP and WHEP; counters by what /metrics says. */
export class WhipServer {
  readonly app: App;

  private constructor(app: App) {
    this.app = app;
  }

  /** @param argv settings as flags */
  static async start(argv: readonly string[] = []): Promise<WhipServer> {
    const config = loadConfig({
      argv: ['--port', '0', '--model', 'resize', '--log-level', 'silent', '--limits.maxBroadcasts', '3', ...argv],
    });
    return new WhipServer(await startApp(config, createLog(config.log)));
  }

  get url(): string {
    return this.app.url.replace('localhost', '127.0.0.1');
  }

  /** Complete pictures of all publishers so far. */
  pictures(): Promise<number> {
    return this.#counter('flashvsr_frames_total{stage="received"}');
  }

  /** Errors of peers and requests so far, by code. */
  errors(code: string): Promise<number> {
    return this.#counter(`flashvsr_errors_total{code="${code}"}`);
  }

  stats(name: string) {
    return this.app.registry.get(name)?.stats;
  }

  close(): Promise<void> {
    return this.app.close();
  }

  async #counter(name: string): Promise<number> {
    const text = await this.app.metrics.text();
    const line = text.split('\n').find((each) => each.startsWith(`${name} `));
    return Number(line?.slice(name.length) ?? 0);
  }
}
