import { mkdirSync, readdirSync, statSync, unlinkSync } from 'node:fs';
import path from 'node:path';
import { AppError } from '../../errors.ts';
import { VIDEO_CLOCK_HZ } from '../../media/types.ts';
import { HLS_PLAYLIST, HLS_SEGMENT } from '../hls-files.ts';
import { ContainerWriter } from './container-writer.ts';
import type { HlsTarget } from './messages.ts';
import type { MuxOutput } from './mux-session.ts';
import { diskError } from './recording-file.ts';
import type { StreamParameters } from './video-parameters.ts';

/** A playlist and its segments (RFC 8216) in a folder: MPEG-TS with H264 and AAC, which every player takes. */
export class HlsOutput implements MuxOutput {
  /** Each segment brings its parameter sets. */
  readonly fixedParameters = false;
  readonly keyframeTicks: number;
  readonly label: string;
  readonly #target: HlsTarget;
  readonly #now: () => number;

  constructor(target: HlsTarget, now: () => number = Date.now) {
    this.#target = target;
    this.#now = now;
    this.keyframeTicks = target.segmentSeconds * VIDEO_CLOCK_HZ;
    this.label = path.join(path.basename(target.folder), HLS_PLAYLIST);
  }

  open(video: StreamParameters, hasAudio: boolean): ContainerWriter {
    if (video.codec !== 'H264') throw hlsTakesNo(video.codec);
    const { folder, segmentSeconds, window } = this.#target;
    this.#prepare();
    // Sequence numbers go on over restarts (RFC 8216 section 6.2.2): players that stay find the new segments newer.
    const first = Math.floor(this.#now() / 1000);
    const options = {
      hls_time: String(segmentSeconds),
      hls_list_size: String(window),
      hls_flags: 'delete_segments+independent_segments+program_date_time+discont_start+temp_file',
      hls_segment_filename: path.join(folder, '%010d.ts'),
      start_number: String(first),
    };
    const audio = hasAudio ? 'aac' : undefined;
    return new ContainerWriter({ muxer: 'hls', url: path.join(folder, HLS_PLAYLIST), options, video, audio });
  }

  full(): boolean {
    return false;
  }

  check(): void {
    try {
      statSync(this.#target.folder);
    } catch (cause) {
      throw diskError(this.#target.folder, (cause as NodeJS.ErrnoException).code ?? '', cause);
    }
  }

  /** Makes the broadcast's folder in that of the output, which must be there, and removes what an earlier run left. */
  #prepare(): void {
    const { folder } = this.#target;
    try {
      statSync(path.dirname(folder));
      mkdirSync(folder, { recursive: true });
      for (const name of readdirSync(folder)) {
        if (HLS_SEGMENT.test(name.replace(/\.tmp$/, ''))) unlinkSync(path.join(folder, name));
      }
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException;
      throw diskError(folder, code ?? message, cause);
    }
  }
}

function hlsTakesNo(codec: string): AppError {
  return new AppError('output.unsupported', `HLS segments do not take ${codec}.`, {
    context: { codec },
    remedy: 'Set `track` of the output to `result`, which is H264, or publish H264.',
  });
}
