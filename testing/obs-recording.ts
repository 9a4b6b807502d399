import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { AVMEDIA_TYPE_AUDIO } from 'node-av/constants';
import { FormatContext, Packet } from 'node-av/lib';
import { splitAccessUnits } from './clip.ts';
import { makeNumberedVideo, writeY4m, type NumberedVideo } from './numbered-video.ts';
import type { ObsPeer } from './peers/obs.ts';

const SAMPLE = fileURLToPath(new URL('../testdata/clips/astronaut_320x180.mp4', import.meta.url));
/** Small, so that two busy cores keep up with the result. */
const [WIDTH, HEIGHT] = [160, 90];
const FRAMES_PER_SECOND = 30;
const OPUS_MS = 20;

/** Numbered pictures and a tone on each side, encoded as OBS does by default: High profile, a keyframe every 250 pictures. */
export interface ObsRecording {
  readonly video: NumberedVideo;
  readonly units: readonly Buffer[];
  /** 20 ms each. */
  readonly opus: readonly Buffer[];
}

export async function makeObsRecording(pictures: number): Promise<ObsRecording> {
  const folder = mkdtempSync(join(tmpdir(), 'obs-'));
  try {
    const video = makeNumberedVideo(SAMPLE, WIDTH, HEIGHT, pictures, FRAMES_PER_SECOND);
    const [y4m, h264, mka] = ['a.y4m', 'a.264', 'a.mka'].map((name) => join(folder, name)) as [string, string, string];
    writeY4m(video, y4m);
    const x264 = 'keyint=250:scenecut=0:bframes=0:repeat-headers=1:aud=1:slices=2:crf=16';
    const h264Options = ['-c:v', 'libx264', '-preset', 'veryfast', '-profile:v', 'high', '-x264-params', x264];
    run('-i', y4m, '-pix_fmt', 'yuv420p', ...h264Options, h264);
    const seconds = String(pictures / FRAMES_PER_SECOND);
    const tones = `aevalsrc=0.4*sin(440*2*PI*t)|0.4*sin(1000*2*PI*t):s=48000:d=${seconds}`;
    run('-f', 'lavfi', '-i', tones, '-c:a', 'libopus', '-b:a', '96k', '-frame_duration', String(OPUS_MS), mka);
    const units = splitAccessUnits(readFileSync(h264)).map(({ data }) => data);
    return { video, units, opus: await packetsOf(mka) };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

const run = (...args: string[]) => execFileSync(ffmpeg.path, ['-v', 'error', '-nostdin', '-y', ...args]);

async function packetsOf(file: string): Promise<Buffer[]> {
  const [input, packet] = [new FormatContext(), new Packet()];
  packet.alloc();
  if ((await input.openInput(file)) < 0) throw new Error(`${file} does not open`);
  await input.findStreamInfo(null);
  const audio = input.streams.find(({ codecpar }) => codecpar.codecType === AVMEDIA_TYPE_AUDIO)?.index;
  const packets: Buffer[] = [];
  while ((await input.readFrame(packet)) >= 0) {
    if (packet.streamIndex === audio && packet.data !== null) packets.push(Buffer.from(packet.data));
    packet.unref();
  }
  await input.closeInput();
  packet.free();
  return packets;
}

/** Sends it at its own pace, once; counts what has been sent. */
export class ObsPlayback {
  pictures = 0;
  packets = 0;
  readonly done: Promise<void>;
  #timer: NodeJS.Timeout | undefined;
  #finish: () => void = () => undefined;

  constructor(peer: ObsPeer, { units, opus }: ObsRecording) {
    const startedMs = performance.now();
    this.done = new Promise((resolve) => (this.#finish = resolve));
    this.#timer = setInterval(() => {
      const elapsedMs = performance.now() - startedMs;
      for (; this.packets < opus.length && this.packets * OPUS_MS <= elapsedMs; this.packets += 1) {
        peer.sendAudio(opus[this.packets] as Buffer, this.packets * 48 * OPUS_MS);
      }
      for (
        ;
        this.pictures < units.length && (this.pictures * 1000) / FRAMES_PER_SECOND <= elapsedMs;
        this.pictures += 1
      ) {
        peer.sendVideo(units[this.pictures] as Buffer, this.pictures * (90_000 / FRAMES_PER_SECOND));
      }
      if (this.packets === opus.length && this.pictures === units.length) this.stop();
    }, 5);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#finish();
  }
}
