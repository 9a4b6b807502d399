import { AppError } from '../../errors.ts';
import { ContainerWriter } from './container-writer.ts';
import type { PushTarget } from './messages.ts';
import type { MuxOutput } from './mux-session.ts';
import type { StreamParameters } from './video-parameters.ts';

/** A server that takes a stream: one connection, another one when the stream's parameters change. */
export class PushOutput implements MuxOutput {
  readonly fixedParameters: boolean;
  readonly keyframeTicks = Infinity;
  readonly label: string;
  readonly #target: PushTarget;

  constructor(target: PushTarget) {
    this.#target = target;
    this.label = target.label;
    // A transport stream repeats its parameter sets; the others say them in front.
    this.fixedParameters = target.muxer !== 'mpegts';
  }

  open(video: StreamParameters, hasAudio: boolean): ContainerWriter {
    const { codecs, audio, label, options, lingerMs = 0 } = this.#target;
    if (!codecs.includes(video.codec)) {
      throw new AppError('output.unsupported', `${label} is not sent ${video.codec}.`, {
        context: { codec: video.codec },
        remedy: 'Set `track` of the output to `result`, which is H264, or publish H264.',
      });
    }
    return new ContainerWriter({
      ...this.#destination(),
      options,
      video,
      audio: hasAudio ? audio : undefined,
      lingerMs,
    });
  }

  full(): boolean {
    return false;
  }

  check(): void {
    // A connection that is lost says so itself.
  }

  /** node-av opens an address without options of its protocol; the tee muxer takes them in front of the address. */
  #destination(): { readonly muxer: string; readonly url: string } {
    const { muxer, url, protocolOptions } = this.#target;
    const pairs = Object.entries({ f: muxer, ...protocolOptions });
    if (pairs.length === 1) return { muxer, url };
    const options = pairs.map(([key, value]) => `${key}=${escaped(value, /[\\'\s:\]]/g)}`).join(':');
    return { muxer: 'tee', url: escaped(`[${options}]${url}`, /[\\'\s|]/g) };
  }
}

/** A backslash in front of what av_get_token() would take for its own. */
function escaped(text: string, special: RegExp): string {
  return text.replaceAll(special, String.raw`\$&`);
}
