import type { Readable } from 'node:stream';
import type { z } from 'zod';
import type { Access } from '../../access/access.ts';
import type { BroadcastSettings } from '../../broadcast/settings.ts';
import type { SessionService } from '../../broadcast/sessions.ts';
import type { BroadcastDetail } from '../../broadcast/detail.ts';
import type { OutputConfig } from '../../config/config.ts';
import type { SourceConfig } from '../../config/sections/sources.ts';
import type { JobRequest, JobStatus } from '../../jobs/job.ts';
import type { output, recording, source, status } from './answers.ts';

/** What the API needs of the domain and its adapters; `app.ts` hands them over. */

export interface ApiBroadcasts {
  details(): BroadcastDetail[];
  get(name: string): ApiBroadcast | undefined;
}

export interface ApiBroadcast {
  detail(): BroadcastDetail;
  /** @throws AppError config.invalid; then nothing has changed */
  changeSettings(change: Partial<BroadcastSettings>): void;
}

export interface ApiOutputs {
  list(): readonly z.input<typeof output>[];
  /** @throws AppError output.exists | file.unwritable */
  start(config: OutputConfig): void;
  /** Both: @throws AppError output.unknown */
  stop(name: string): Promise<void>;
  remove(name: string): Promise<void>;
}

export interface ApiSources {
  list(): readonly z.input<typeof source>[];
  /** @throws AppError broadcast.nameTaken | server.draining */
  start(config: SourceConfig): void;
  /** @throws AppError request.notFound */
  stop(name: string): Promise<void>;
}

export interface ApiRecordings {
  list(): Promise<readonly z.input<typeof recording>[]>;
}

export interface ApiJobs {
  /** @throws AppError job.full | job.disk | request.tooLarge | request.malformed | file.unwritable | server.draining */
  add(request: JobRequest, from: Readable, length: number | undefined): Promise<JobStatus>;
  list(): JobStatus[];
  /** @throws AppError job.unknown */
  status(id: string): JobStatus;
  /** @throws AppError job.unknown | request.state */
  resultOf(id: string): { readonly path: string; readonly saveAs: string; readonly ending: string };
  /** @throws AppError job.unknown */
  remove(id: string): Promise<void>;
}

export interface ApiServer {
  status(): z.input<typeof status>;
  /** @returns sessions that still run */
  drain(withinSeconds: number): number;
  /** @throws AppError access.reload */
  reloadTokens(): Promise<{ readonly tokens: number; readonly ended: number }>;
}

export interface ApiServices {
  readonly server: ApiServer;
  readonly broadcasts: ApiBroadcasts;
  readonly outputs: ApiOutputs;
  readonly sources: ApiSources;
  readonly recordings: ApiRecordings;
  /** Absent: this server takes no files. */
  readonly jobs?: ApiJobs | undefined;
  readonly sessions: Pick<SessionService, 'kick'>;
  readonly access: Pick<Access, 'kick'>;
  /** The server may connect there. @throws AppError target.refused */
  checkTarget(url: string): Promise<void>;
}
