import { AV_DISPOSITION_DEFAULT, AV_DISPOSITION_FORCED } from 'node-av/constants';
import { FormatContext, Packet, avGetCodecName } from 'node-av/lib';

/** What another program than ours finds beside a film's pictures. */

export interface FilmTrack {
  readonly codec: string;
  readonly language: string | undefined;
  readonly isDefault: boolean;
  readonly isForced: boolean;
  readonly metadata: Readonly<Record<string, string>>;
  readonly extradata: Buffer | undefined;
  readonly sampleRate: number;
  readonly channels: number;
  /** Seconds of each packet. */
  readonly packets: readonly { readonly start: number; readonly duration: number; readonly data: Buffer }[];
}

export async function readTracks(file: string): Promise<{
  readonly tracks: readonly FilmTrack[];
  readonly metadata: Readonly<Record<string, string>>;
}> {
  const format = new FormatContext();
  const opened = await format.openInput(`file:${file}`, null, null);
  if (opened < 0) throw new Error(`${file} does not open: ${opened}`);
  await format.findStreamInfo(null);
  const found = format.streams.map((): { start: number; duration: number; data: Buffer }[] => []);
  const packet = new Packet();
  packet.alloc();
  while ((await format.readFrame(packet)) >= 0) {
    const { num = 1, den = 1 } = format.streams[packet.streamIndex]?.timeBase ?? {};
    const seconds = (ticks: bigint): number => (Number(ticks) * num) / den;
    const data = Buffer.from(packet.data ?? '');
    found[packet.streamIndex]?.push({ start: seconds(packet.pts), duration: seconds(packet.duration), data });
    packet.unref();
  }
  packet.free();
  const tracks = format.streams.map((stream, index): FilmTrack => {
    const { codecpar } = stream;
    const metadata = stream.metadata?.getAll() ?? {};
    return {
      codec: avGetCodecName(codecpar.codecId) ?? '?',
      language: metadata['language'],
      isDefault: stream.hasDisposition(AV_DISPOSITION_DEFAULT),
      isForced: stream.hasDisposition(AV_DISPOSITION_FORCED),
      metadata,
      extradata: codecpar.extradata === null ? undefined : Buffer.from(codecpar.extradata),
      sampleRate: codecpar.sampleRate,
      channels: codecpar.channels,
      packets: found[index] ?? [],
    };
  });
  const metadata = format.metadata?.getAll() ?? {};
  await format.closeInput();
  return { tracks, metadata };
}
