import { AppError } from '../../errors.ts';
import { VIDEO_CLOCK_HZ, type SourceCodec } from '../../media/types.ts';
import { ContainerWriter } from './container-writer.ts';
import type { AudioForm, RecordingTarget } from './messages.ts';
import type { MuxOutput } from './mux-session.ts';
import { RecordingFile } from './recording-file.ts';
import type { StreamParameters } from './video-parameters.ts';

interface FileForm {
  readonly ending: 'mp4' | 'webm';
  readonly muxer: string;
  readonly codecs: readonly SourceCodec[];
  readonly audio: AudioForm;
  readonly options: Readonly<Record<string, string>>;
}

/** What a process that is killed leaves is complete up to this. */
const FRAGMENT_MS = 500;

const FORMS: Readonly<Record<'mp4' | 'webm', FileForm>> = {
  // In fragments, each with its own index; an orderly end turns it into a plain MP4, which every editor takes.
  mp4: {
    ending: 'mp4',
    muxer: 'mp4',
    codecs: ['H264', 'VP9', 'AV1'],
    audio: 'aac',
    options: { movflags: 'hybrid_fragmented+default_base_moof', frag_duration: String(1000 * FRAGMENT_MS) },
  },
  webm: {
    ending: 'webm',
    muxer: 'webm',
    codecs: ['VP8', 'VP9', 'AV1'],
    audio: 'opus',
    options: { cluster_time_limit: String(FRAGMENT_MS) },
  },
};

/** Files in a folder, one after the other. */
export class RecordingOutput implements MuxOutput {
  readonly fixedParameters = true;
  readonly keyframeTicks = Infinity;
  readonly #target: RecordingTarget;
  readonly #now: () => Date;
  #file: RecordingFile | undefined;

  constructor(target: RecordingTarget, now: () => Date = () => new Date()) {
    this.#target = target;
    this.#now = now;
  }

  /** The present file's name. */
  get label(): string {
    return this.#file?.name ?? '';
  }

  open(video: StreamParameters, hasAudio: boolean): ContainerWriter {
    const form = this.#formOf(video.codec);
    const file = RecordingFile.reserve(this.#target, form.ending, this.#now());
    this.#file = file;
    try {
      const { muxer, options } = form;
      // A file's path from the root: libav would take a colon in a relative one for a protocol.
      return new ContainerWriter({ muxer, url: file.path, options, video, audio: hasAudio ? form.audio : undefined });
    } catch (error) {
      file.remove();
      throw error;
    }
  }

  full({ bytes }: ContainerWriter, ticks: number): boolean {
    const { rotateSeconds, rotateBytes } = this.#target;
    return bytes >= rotateBytes || ticks >= rotateSeconds * VIDEO_CLOCK_HZ;
  }

  check(): void {
    this.#file?.check();
  }

  #formOf(codec: SourceCodec): FileForm {
    const { container } = this.#target;
    const form = container === 'auto' ? (codec === 'VP8' ? FORMS.webm : FORMS.mp4) : FORMS[container];
    if (form.codecs.includes(codec)) return form;
    throw new AppError('output.unsupported', `A ${form.ending} file does not take ${codec}.`, {
      context: { container, codec },
      remedy: 'Set `container` of the output to `auto`, or record the track `result`.',
    });
  }
}
