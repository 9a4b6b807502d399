import type { Log } from '../log.ts';
import { isBPicture } from '../media/h264-slice.ts';
import type { AccessUnit, DropReason } from '../media/types.ts';
import type { Metrics } from '../metrics.ts';
import type { SourceStats } from './source.ts';

/** What a broadcast learns of its sources beside their pictures: B-frames, drops on their way in, timestamps that were replaced. */
export class SourceWatch {
  readonly #log: Log;
  readonly #metrics: Pick<Metrics, 'dropped'>;
  #drops: Partial<Record<DropReason, number>> = {};
  #reordered = false;
  #timestampsReplaced = 0;

  constructor(log: Log, metrics: Pick<Metrics, 'dropped'>) {
    this.#log = log;
    this.#metrics = metrics;
  }

  /** The present source has sent B-frames: browsers show pictures in the order of their packets, so it is not forwarded any more. */
  get reordered(): boolean {
    return this.#reordered;
  }
  /** Of all sources. */
  get drops(): Readonly<Partial<Record<DropReason, number>>> {
    return this.#drops;
  }

  /** Another source has come. */
  begin(): void {
    this.#reordered = false;
  }

  onUnit({ codec, keyframe, data }: AccessUnit): void {
    if (keyframe || this.#reordered || codec !== 'H264' || !isBPicture(data)) return;
    this.#reordered = true;
    this.#log.info({ codec }, 'source.notForwarded');
  }

  onDrop(reason: DropReason, frames: number): void {
    this.#drops = { ...this.#drops, [reason]: (this.#drops[reason] ?? 0) + frames };
    this.#metrics.dropped(reason, frames);
  }

  /** Once a second. At most a line; the publisher reads the same in its statistics. */
  onStats({ timestampsReplaced }: SourceStats): void {
    if (timestampsReplaced > this.#timestampsReplaced) {
      this.#log.warn({ replaced: timestampsReplaced }, 'publisher.timestamps');
    }
    this.#timestampsReplaced = timestampsReplaced;
  }
}
