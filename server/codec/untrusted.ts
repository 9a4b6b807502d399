import { Dictionary, type CodecContext } from 'node-av/lib';
import { STANDARD } from './standard-streams.ts';

/**
 * What a file from a stranger may make FFmpeg do. It holds some 350 demuxers and 500 decoders, many of them old and rarely read by
 * anybody but attackers, and demuxers that open other files (playlists, `concat`, image sequences). Only what is listed here is
 * opened, of the kinds that people's videos are.
 */

/** By the first of their names (`ffmpeg -demuxers`). None of them opens a second file or address. */
const FORMATS = [
  ...['mov', 'matroska', 'avi', 'mpeg', 'mpegts', 'mpegvideo', 'flv', 'asf', 'ogg', 'mxf', 'dv', 'ivf', 'nut', 'rm'],
  ...['yuv4mpegpipe', 'h264', 'hevc', 'vvc', 'obu', 'm4v', 'mjpeg', 'gif', 'apng', 'webp_anim', 'wav'],
  ...['png_pipe', 'jpeg_pipe', 'webp_pipe', 'bmp_pipe', 'tiff_pipe'],
];

const VIDEO_DECODERS = [
  ...['h264', 'hevc', 'vvc', 'av1', 'libdav1d', 'vp8', 'vp9', 'libvpx', 'libvpx-vp9', 'theora'],
  ...[
    'mpeg1video',
    'mpeg2video',
    'mpeg4',
    'msmpeg4',
    'msmpeg4v2',
    'h263',
    'flv',
    'wmv1',
    'wmv2',
    'wmv3',
    'vc1',
    'rv40',
  ],
  ...[
    'mjpeg',
    'prores',
    'dnxhd',
    'dvvideo',
    'cfhd',
    'qtrle',
    'ffv1',
    'huffyuv',
    'ffvhuff',
    'utvideo',
    'rawvideo',
    'v210',
  ],
  ...['png', 'apng', 'gif', 'webp', 'webp_anim', 'bmp', 'tiff'],
];

/** Sound is copied where the container takes it; libav opens these to learn a stream's parameters, too. */
const AUDIO_DECODERS = [
  ...[
    'aac',
    'aac_latm',
    'mp3',
    'mp3float',
    'mp2',
    'mp2float',
    'ac3',
    'eac3',
    'dca',
    'truehd',
    'opus',
    'libopus',
    'vorbis',
  ],
  ...[
    'flac',
    'alac',
    'wmav2',
    'adpcm_ms',
    'adpcm_ima_qt',
    'adpcm_ima_wav',
    'pcm_bluray',
    'pcm_dvd',
    'pcm_alaw',
    'pcm_mulaw',
  ],
  ...['pcm_s16le', 'pcm_s16be', 'pcm_s24le', 'pcm_s24be', 'pcm_s32le', 'pcm_s32be', 'pcm_f32le', 'pcm_u8'],
];

/** A film with every language, commentary and subtitle has some thirty. */
const MAX_STREAMS = 64;
const PROBE_BYTES = 8 * 2 ** 20;
const ANALYSE_US = 10_000_000;
/** 8K; the frame buffers of one decoder stay below a few GB. */
export const MAX_FILE_PIXELS = 8192 * 4352;
/** Each holds its own frames. */
export const MAX_DECODER_THREADS = 16;

/** `file` for paths, `pipe` for standard input, the protocols of the web for addresses of it. Others (`concat:`, `data:`, `pipe:`, `rtmp:`, ...) are refused. */
export function protocolsFor(input: string): readonly string[] | undefined {
  if (input === STANDARD) return ['pipe'];
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(input)?.[1]?.toLowerCase();
  if (scheme === undefined) return ['file'];
  return scheme === 'http' || scheme === 'https' ? ['http', 'https', 'tcp', 'tls'] : undefined;
}

/** Options for opening an input; the caller frees them. */
export function inputOptions(protocols: readonly string[]): Dictionary {
  const options = new Dictionary();
  const set = (name: string, value: string): void => void options.set(name, value);
  set('format_whitelist', FORMATS.join(','));
  set('codec_whitelist', [...VIDEO_DECODERS, ...AUDIO_DECODERS].join(','));
  set('protocol_whitelist', protocols.join(','));
  set('max_streams', String(MAX_STREAMS));
  set('probesize', String(PROBE_BYTES));
  set('analyzeduration', String(ANALYSE_US));
  // Nothing is asked for again: with this, libav tells an answer in chunks that was cut off (RFC 9112 section 8) from one that ended.
  if (protocols.includes('http')) set('reconnect_streamed', '1');
  return options;
}

/** Also checked by libav's own name list (`codec_whitelist`) while it probes. */
export function allowedDecoder(name: string | null): boolean {
  return name !== null && VIDEO_DECODERS.includes(name);
}

export function allowedSoundDecoder(name: string | null): boolean {
  return name !== null && AUDIO_DECODERS.includes(name);
}

/** To be called before the decoder is opened. */
export function boundDecoder(context: CodecContext, threads: number): void {
  context.threadCount = Math.min(threads, MAX_DECODER_THREADS);
  context.setOption('max_pixels', String(MAX_FILE_PIXELS));
}
