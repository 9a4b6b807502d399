import type { SourceConfig } from '../config/sections/sources.ts';
import { AppError } from '../errors.ts';
import type { SourceSnapshot } from '../metrics.ts';
import { PulledSource, type PulledSourceDependencies, type SourceSummary } from './pulled-source.ts';

/** The streams that the server pulls, by the broadcast's name. The configuration starts them. */
export class SourceService {
  readonly #deps: PulledSourceDependencies;
  readonly #sources = new Map<string, PulledSource>();
  #closed = false;

  constructor(deps: PulledSourceDependencies) {
    this.#deps = deps;
  }

  /**
   * It connects at once and goes on until stop().
   * @throws AppError broadcast.nameTaken | server.draining
   */
  start(config: SourceConfig): void {
    if (this.#closed) throw new AppError('server.draining', 'The server is stopping and starts no sources.');
    if (this.#sources.has(config.name)) {
      throw new AppError('broadcast.nameTaken', `The name "${config.name}" belongs to another source.`);
    }
    this.#sources.set(config.name, new PulledSource(config, this.#deps));
  }

  /** Its broadcast's name is free afterwards. @throws AppError request.notFound */
  async stop(name: string): Promise<void> {
    const source = this.#sources.get(name);
    if (source === undefined) throw new AppError('request.notFound', `There is no source named "${name}".`);
    this.#sources.delete(name);
    await source.stop();
  }

  list(): SourceSummary[] {
    return [...this.#sources.values()].map((source) => source.summary());
  }

  snapshot(): SourceSnapshot[] {
    return this.list().map(({ name, state }) => ({ source: name, state }));
  }

  toJSON(): object {
    return this.list();
  }

  /** Idempotent. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all([...this.#sources.keys()].map((name) => this.stop(name)));
  }
}
