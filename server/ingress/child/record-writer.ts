import type { Writable } from 'node:stream';
import {
  MAX_RECORD_BYTES,
  encodeRecord,
  type AudioRecord,
  type PullRecord,
  type Report,
  type VideoRecord,
} from './messages.ts';

/** What waits in front of a server that is busy: some seconds of a camera. */
const MAX_WAITING_BYTES = 4 * 2 ** 20;

/** The queue between the pulled stream and the server: bounded; pictures are left out up to the next keyframe, sound by the packet. */
export class RecordWriter {
  framesDropped = 0;
  readonly #pipe: Pick<Writable, 'write' | 'writableLength'>;
  #awaitsKeyframe = false;
  #newestAudio = -Infinity;

  constructor(pipe: Pick<Writable, 'write' | 'writableLength'>) {
    this.#pipe = pipe;
  }

  video(record: VideoRecord): void {
    const full = this.#full || record.data.length > MAX_RECORD_BYTES / 2;
    if (full || (this.#awaitsKeyframe && !record.keyframe)) {
      this.framesDropped += 1;
      this.#awaitsKeyframe = true;
      return;
    }
    this.#awaitsKeyframe = false;
    this.#write(record);
  }

  /** Sound that steps back (the padding of a file's last packet, at the joint of a loop) is left out. */
  audio(record: AudioRecord): void {
    if (this.#full || record.data.length === 0 || record.timestamp <= this.#newestAudio) return;
    this.#newestAudio = record.timestamp;
    this.#write(record);
  }

  report(report: Report): void {
    this.#write({ kind: 'report', report });
  }

  get #full(): boolean {
    return this.#pipe.writableLength > MAX_WAITING_BYTES;
  }

  #write(record: PullRecord): void {
    for (const part of encodeRecord(record)) this.#pipe.write(part);
  }
}
