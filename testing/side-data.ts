import { AVMEDIA_TYPE_VIDEO, type AVPacketSideDataType } from 'node-av/constants';
import { FormatContext, Packet, type Stream } from 'node-av/lib';

/** What ffmpeg of 2018 cannot write: a copy of a film with side data (cropping, Dolby Vision, 360 degrees, …) of its pictures in the container. */
export async function copyWithSideData(
  from: string,
  to: string,
  muxer: string,
  sideData: ReadonlyMap<AVPacketSideDataType, Buffer>,
): Promise<void> {
  const source = new FormatContext();
  if ((await source.openInput(`file:${from}`, null, null)) < 0) throw new Error(`${from} does not open`);
  await source.findStreamInfo(null);
  const result = new FormatContext();
  result.allocOutputContext2(null, muxer, to);
  const streams = new Map<number, { readonly own: Stream; readonly other: Stream }>();
  for (const own of source.streams) {
    const other = result.newStream(null);
    own.codecpar.copy(other.codecpar);
    other.codecpar.codecTag = 0;
    other.timeBase = own.timeBase;
    if (own.codecpar.codecType === AVMEDIA_TYPE_VIDEO)
      for (const [type, data] of sideData) other.codecpar.addCodedSideData(type, data);
    streams.set(own.index, { own, other });
  }
  await result.openOutput();
  if ((await result.writeHeader(null)) < 0) throw new Error(`${to} takes no header`);
  const packet = new Packet();
  packet.alloc();
  while ((await source.readFrame(packet)) >= 0) {
    const pair = streams.get(packet.streamIndex);
    if (pair === undefined) continue;
    packet.rescaleTs(pair.own.timeBase, pair.other.timeBase);
    packet.streamIndex = pair.other.index;
    packet.pos = -1n;
    if ((await result.interleavedWriteFrame(packet)) < 0) throw new Error(`${to} takes no packet`);
    packet.unref();
  }
  packet.free();
  await result.writeTrailer();
  await result.closeOutput();
  result.freeContext();
  await source.closeInput();
}
