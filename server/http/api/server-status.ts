import { availableParallelism } from 'node:os';
import type { z } from 'zod';
import type { AccessMode } from '../../access/access.ts';
import type { ModelSummary } from '../../broadcast/statistics.ts';
import { ERRORS } from '../../errors.ts';
import type { ErrorCount, MetricsSnapshot } from '../../metrics.ts';
import { VERSION } from '../../version.ts';
import type { status } from './answers.ts';

export interface StatusParts {
  readonly model: ModelSummary;
  readonly accessMode: AccessMode;
  readonly draining: () => boolean;
  readonly engines: () => readonly {
    readonly device: string;
    readonly name: string;
    readonly streams: number;
    readonly lost: boolean;
  }[];
  readonly snapshot: () => Omit<MetricsSnapshot, 'outputs' | 'sources' | 'engines'>;
  readonly errors: () => readonly ErrorCount[];
}

/** Several programs may ask at once: the load is measured over at least this long. */
const LOAD_WINDOW_MS = 1000;

/** The answer of /api/admin/status. */
export class ServerStatus {
  readonly #parts: StatusParts;
  #usage = process.cpuUsage();
  #atMs = performance.now();
  #load = 0;

  constructor(parts: StatusParts) {
    this.#parts = parts;
  }

  status(): z.input<typeof status> {
    const { model, accessMode, draining, engines, snapshot, errors } = this.#parts;
    const { broadcasts, broadcastCapacity, viewers, bitrateInBps, bitrateOutBps } = snapshot();
    return {
      version: VERSION,
      node: process.version,
      uptimeSeconds: Math.round(process.uptime()),
      residentBytes: process.memoryUsage.rss(),
      cores: availableParallelism(),
      processorLoad: this.#processorLoad(),
      draining: draining(),
      accessMode,
      model,
      engines: engines(),
      ...{ broadcasts, capacity: broadcastCapacity, viewers, bitrateInBps, bitrateOutBps },
      errors: errors().map((error) => ({ ...error, remedy: ERRORS[error.code].remedy })),
    };
  }

  #processorLoad(): number {
    const passedMs = performance.now() - this.#atMs;
    if (passedMs >= LOAD_WINDOW_MS) {
      const { user, system } = process.cpuUsage(this.#usage);
      this.#load = Math.round((user + system) / 10 / passedMs) / 100;
      this.#usage = process.cpuUsage();
      this.#atMs += passedMs;
    }
    return this.#load;
  }
}
