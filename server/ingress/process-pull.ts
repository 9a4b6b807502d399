import { RtpClock } from '../media/rtp-clock.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { PullJob } from './child/messages.ts';
import { ended, type Pull, type PullEvents } from './pull.ts';
import { PullProcess, type PullListener } from './pull-process.ts';
import { PulledStream } from './pulled-stream.ts';

/** `PullProcess`, or a test's double. */
export type CreatePuller = (job: PullJob, listener: PullListener) => Pull;

export interface ProcessPullOptions {
  readonly id: string;
  readonly job: PullJob;
  /** Of the broadcast. */
  readonly clock: RtpClock | undefined;
  readonly nowUs: () => MonotonicUs;
  readonly createPuller?: CreatePuller | undefined;
}

/** A connection by a process of its own: it demuxes, and its records become the broadcast's. */
export class ProcessPull implements Pull {
  readonly #puller: Pull;
  #stream: PulledStream | undefined;

  constructor({ id, job, clock = new RtpClock(), nowUs, createPuller }: ProcessPullOptions, events: PullEvents) {
    const create = createPuller ?? ((...pulling) => new PullProcess(...pulling));
    this.#puller = create(job, {
      onOpened: ({ hasAudio, notices }) => {
        for (const notice of notices) events.onNotice(notice);
        const stream = new PulledStream({
          ...{ id, clock, nowUs, hasAudio },
          stop: () => this.close(),
          onEnded: (_reason, error) => events.onEnded(error ?? ended()),
        });
        this.#stream = stream;
        events.onOpened(stream);
      },
      onVideo: (record) => this.#stream?.onVideo(record),
      onAudio: (record) => this.#stream?.onAudio(record),
      onAlive: ({ framesDropped }) => this.#stream?.onDropped(framesDropped),
      onEnded: (error = ended()) => {
        this.#stream?.lost(error);
        events.onEnded(error);
      },
    });
  }

  close(): Promise<void> {
    return this.#puller.close();
  }
}
