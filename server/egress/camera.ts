import type { OutputOf } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { MuxedOutput } from './muxed-output.ts';
import { MuxerProcess } from './muxer/muxer-process.ts';
import type { OutputKind, OutputRun, RunRequest } from './output-kind.ts';

/** A camera shows what is now: a second of pictures, and what waits longer is left out. */
const QUEUE = { maxFrames: 60 };

/** A broadcast as a camera of this machine: its pictures go to a video device that is a loopback (v4l2loopback). */
export class CameraKind implements OutputKind<OutputOf<'camera'>> {
  readonly #platform: NodeJS.Platform;

  constructor(platform = process.platform) {
    this.#platform = platform;
  }

  /** @throws AppError config.invalid where there are no such devices */
  prepare({ name }: OutputOf<'camera'>): void {
    if (this.#platform === 'linux') return;
    throw new AppError('config.invalid', `The output "${name}" is a camera, which exists on Linux only.`, {
      remedy: 'Use the virtual camera of OBS (docs/webcam.md).',
    });
  }

  open({ id, output, subscription, events }: RunRequest<OutputOf<'camera'>>): OutputRun {
    const { name, track, device, width, height } = output;
    const process = new MuxerProcess({ label: `the output "${name}"` });
    const target = { kind: 'camera', device, width, height } as const;
    return new MuxedOutput(
      { id, kind: 'relay', track, codec: 'H264', process, target, queue: QUEUE },
      subscription,
      events,
    );
  }
}
