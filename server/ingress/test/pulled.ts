import { Decoder } from '../../codec/decoder.ts';
import type { FramePicture } from '../../codec/frame-picture.ts';
import type { AppError } from '../../errors.ts';
import { readNumber } from '../../../testing/numbered-video.ts';
import type { AudioRecord, PullJob, Report, VideoRecord } from '../child/messages.ts';
import { PullProcess, type PullListener, type PullProcessOptions } from '../pull-process.ts';

export const LOOPBACK = ['127.0.0.0/8', '::1'];

export function jobFor(url: string, change: Partial<PullJob> = {}): PullJob {
  return { url, transport: 'tcp', timeoutMs: 10_000, maxPixels: 1920 * 1088, allow: LOOPBACK, ...change };
}

/** What a real process pulled. */
export class Pulled implements PullListener {
  readonly process: PullProcess;
  readonly video: VideoRecord[] = [];
  readonly audio: AudioRecord[] = [];
  opened: Extract<Report, { type: 'opened' }> | undefined;
  aliveReports = 0;
  ended: { readonly error: AppError | undefined } | undefined;

  constructor(job: PullJob, options?: PullProcessOptions) {
    this.process = new PullProcess(job, this, options);
  }

  onOpened(report: Extract<Report, { type: 'opened' }>): void {
    this.opened = report;
  }
  onVideo(record: VideoRecord): void {
    this.video.push({ ...record, data: Buffer.from(record.data) });
  }
  onAudio(record: AudioRecord): void {
    this.audio.push({ ...record, data: Buffer.from(record.data) });
  }
  onAlive(): void {
    this.aliveReports += 1;
  }
  onEnded(error: AppError | undefined): void {
    this.ended = { error };
  }
}

export interface SeenPicture {
  readonly number: number;
  readonly seconds: number;
  /** Rows without padding. */
  readonly luma: Uint8Array;
}

/** The pictures (testing/numbered-video.ts) in presentation order; what a loss has damaged is left out. */
export function picturesOf(records: readonly VideoRecord[]): SeenPicture[] {
  const first = records.findIndex(({ keyframe }) => keyframe);
  const decoder = new Decoder({ codec: records[first]?.codec ?? 'H264', maxPixels: 1920 * 1088 });
  const decoded = ({ codec, data, timestamp, keyframe }: VideoRecord): FramePicture[] => {
    try {
      return decoder.decode({ codec, data, mediaTime: timestamp, keyframe, receivedAtUs: 0, assembledAtUs: 0 });
    } catch {
      return [];
    }
  };
  try {
    return records.slice(first).flatMap((record) =>
      decoded(record).map((picture) => {
        const { width, height, y, yStride, mediaTime } = picture;
        const rows = Array.from({ length: height }, (_, row) => y.slice(row * yStride, row * yStride + width));
        const luma = Buffer.concat(rows);
        picture.release();
        const number = readNumber((x, row) => luma[Math.floor(row * height) * width + Math.floor(x * width)] ?? 0);
        return { number, seconds: mediaTime / 90_000, luma };
      }),
    );
  } finally {
    decoder.close();
  }
}

/** Of luma, dB. */
export function psnr(a: Uint8Array, b: Uint8Array): number {
  let squares = 0;
  for (const [index, value] of a.entries()) squares += (value - (b[index] ?? 0)) ** 2;
  return 10 * Math.log10(255 ** 2 / (squares / a.length));
}
