import '../../codec/native.ts';
import { AV_CODEC_ID_H264 } from 'node-av/constants';
import { Codec, CodecContext, Frame, Packet } from 'node-av/lib';
import { keyframeSize } from '../../codec/picture-size.ts';
import { boundDecoder } from '../../codec/untrusted.ts';
import { OBU, parseObuHeader, readLeb128 } from '../../media/av1-obu.ts';
import { splitAnnexB } from '../../media/h264.ts';
import { NAL_PPS, NAL_SPS } from '../../media/h264-parameter-sets.ts';
import type { VideoParameters } from './container-writer.ts';
import type { VideoItem } from './messages.ts';

export interface StreamParameters extends VideoParameters {
  /** Pictures that wait for their place in presentation order: B-frames. */
  readonly reorderFrames: number;
}

/** The deepest reordering of H.264 (max_dec_frame_buffering, A.3.1). */
const MAX_REORDER = 16;

/** What a container says of its video in front, read from a keyframe; undefined for one that does not say it. */
export function streamParameters({ codec, data, size }: VideoItem): StreamParameters | undefined {
  if (codec !== 'H264') {
    const { width, height } = size ?? keyframeSize(codec, data) ?? { width: 0, height: 0 };
    const parameterSets = codec === 'AV1' ? sequenceHeaderOf(data) : undefined;
    return width === 0 ? undefined : { codec, width, height, parameterSets, reorderFrames: 0 };
  }
  const parameterSets = parameterSetsOf(data);
  if (parameterSets === undefined) return undefined;
  // Results have no B-frames, and their size is known.
  if (size !== undefined) return { codec, ...size, parameterSets, reorderFrames: 0 };
  const decoded = decodeKeyframe(data);
  return decoded === undefined ? undefined : { codec, parameterSets, ...decoded };
}

/** A source's picture: its size after cropping and its order (H.264 sections 7.4.2.1.1 and E.2.1) are what a decoder makes of the SPS. */
function decodeKeyframe(data: Uint8Array): Pick<StreamParameters, 'width' | 'height' | 'reorderFrames'> | undefined {
  const codec = Codec.findDecoder(AV_CODEC_ID_H264);
  if (codec === null) return undefined;
  const [context, packet, frame] = [new CodecContext(), new Packet(), new Frame()];
  context.allocContext3(codec);
  boundDecoder(context, 1);
  packet.alloc();
  frame.alloc();
  try {
    if (context.open2Sync(codec, null) < 0) return undefined;
    packet.data = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
    if (context.sendPacketSync(packet) < 0) return undefined;
    context.sendPacketSync(null);
    if (context.receiveFrameSync(frame) < 0) return undefined;
    const { width, height } = frame;
    return { width, height, reorderFrames: Math.min(MAX_REORDER, Math.max(0, context.hasBFrames)) };
  } finally {
    frame.free();
    packet.free();
    context.freeContext();
  }
}

/** Whether the same container can go on with it. */
export function sameParameters(a: VideoParameters, b: VideoParameters): boolean {
  if (a.codec !== b.codec || a.width !== b.width || a.height !== b.height) return false;
  return Buffer.compare(a.parameterSets ?? EMPTY, b.parameterSets ?? EMPTY) === 0;
}

const EMPTY = Buffer.alloc(0);
const START_CODE = Buffer.from([0, 0, 0, 1]);

/** The open bitstream unit, header and size included (AV1 section 5.3). */
function sequenceHeaderOf(data: Uint8Array): Uint8Array | undefined {
  for (let at = 0; at < data.length;) {
    const header = parseObuHeader(data.subarray(at, at + 2));
    const size = header === undefined ? undefined : readLeb128(data, at + header.bytes);
    if (header === undefined || size === undefined) return undefined;
    const end = at + header.bytes + size.bytes + size.value;
    if (header.type === OBU.sequenceHeader) return data.subarray(at, end);
    at = end;
  }
  return undefined;
}

function parameterSetsOf(data: Uint8Array): Buffer | undefined {
  const sets = splitAnnexB(data).filter((unit) => [NAL_SPS, NAL_PPS].includes((unit[0] ?? 0) & 0x1f));
  if (!sets.some((unit) => ((unit[0] ?? 0) & 0x1f) === NAL_SPS)) return undefined;
  return Buffer.concat(sets.flatMap((unit) => [START_CODE, unit]));
}
