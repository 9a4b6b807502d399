import { execFileSync } from 'node:child_process';
import ffmpeg from '@ffmpeg-installer/ffmpeg';
import { AV_CHANNEL_ORDER_NATIVE, AV_SAMPLE_FMT_FLT } from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet, Rational } from 'node-av/lib';
import '../server/codec/native.ts';

/** Stereo sound that is recognized again: another tone in each channel. */
export const LEFT_HZ = 440;
export const RIGHT_HZ = 1000;
const RATE = 48_000;
const FRAME = 960;

/** Opus packets of 20 ms, as a publisher sends them. */
export function opusTone(packets: number): Uint8Array[] {
  const codec = Codec.findEncoderByName('libopus' as never);
  if (codec === null) throw new Error('no Opus encoder');
  const context = new CodecContext();
  context.allocContext3(codec);
  Object.assign(context, { sampleRate: RATE, sampleFormat: AV_SAMPLE_FMT_FLT, bitRate: 128_000n });
  context.channelLayout = { nbChannels: 2, order: AV_CHANNEL_ORDER_NATIVE, mask: 3n };
  context.timeBase = new Rational(1, RATE);
  if (context.open2Sync(codec, null) < 0) throw new Error('the Opus encoder does not open');
  const packet = new Packet();
  packet.alloc();
  const made: Uint8Array[] = [];
  for (let number = 0; made.length < packets; number += 1) {
    const frame = new Frame();
    frame.alloc();
    frame.format = AV_SAMPLE_FMT_FLT;
    frame.sampleRate = RATE;
    frame.channelLayout = context.channelLayout;
    frame.nbSamples = FRAME;
    frame.getBuffer();
    const [plane] = frame.data ?? [];
    if (plane === undefined) throw new Error('no sound buffer');
    for (let index = 0; index < FRAME; index += 1) {
      const seconds = (number * FRAME + index) / RATE;
      plane.writeFloatLE(0.4 * Math.sin(2 * Math.PI * LEFT_HZ * seconds), index * 8);
      plane.writeFloatLE(0.4 * Math.sin(2 * Math.PI * RIGHT_HZ * seconds), index * 8 + 4);
    }
    frame.pts = BigInt(number * FRAME);
    context.sendFrameSync(frame);
    frame.free();
    while (context.receivePacketSync(packet) >= 0) {
      if (packet.data !== null) made.push(Uint8Array.from(packet.data));
      packet.unref();
    }
  }
  packet.free();
  context.freeContext();
  return made.slice(0, packets);
}

/** Of a file's sound, by another program than ours. */
export interface Sound {
  readonly seconds: number;
  /** How strong a tone is in a channel, 0..1, of the whole of it. */
  readonly level: (channel: 'left' | 'right', hz: number) => number;
}

export function readSound(file: string): Sound {
  const pcm = execFileSync(
    ffmpeg.path,
    ['-v', 'error', '-i', file, '-vn', '-ar', String(RATE), '-ac', '2', '-f', 'f32le', '-'],
    {
      maxBuffer: 1 << 28,
    },
  );
  const samples = new Float32Array(pcm.buffer.slice(pcm.byteOffset, pcm.byteOffset + pcm.length));
  const count = samples.length / 2;
  const level = (channel: 'left' | 'right', hz: number): number => {
    let [real, imaginary] = [0, 0];
    for (let index = 0; index < count; index += 1) {
      const sample = samples[2 * index + (channel === 'left' ? 0 : 1)] ?? 0;
      const phase = (2 * Math.PI * hz * index) / RATE;
      real += sample * Math.cos(phase);
      imaginary += sample * Math.sin(phase);
    }
    return (2 * Math.hypot(real, imaginary)) / Math.max(1, count);
  };
  return { seconds: count / RATE, level };
}
