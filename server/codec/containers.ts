import path from 'node:path';

/** What `--codec` may ask for. */
export type FileCodec = 'h264' | 'hevc' | 'av1';
export const FILE_CODECS: readonly FileCodec[] = ['h264', 'hevc', 'av1'];

/**
 * What a container takes, by libav's codec names. libav's own answer (avformat_query_codec) is too kind: it lets through what
 * the muxer then refuses, or what players do not know.
 */
export interface Container {
  readonly muxer: string;
  readonly video: readonly FileCodec[];
  /** Sound that is copied; other sound is converted to `lossless` where it was PCM and the container has it, else to `lossy`. */
  readonly sound: ReadonlySet<string>;
  readonly lossless: 'pcm' | 'flac' | undefined;
  readonly lossy: 'aac' | 'libopus';
  /** Subtitles that are copied. */
  readonly subtitles: ReadonlySet<string>;
  /** What other text subtitles become. */
  readonly text: 'subrip' | 'mov_text' | 'webvtt' | undefined;
  readonly data: ReadonlySet<string>;
  /** Cover art: as a video stream with a flag, or as an attached file. */
  readonly cover: 'stream' | 'attachment' | undefined;
  /** Fonts and other files. */
  readonly attachments: boolean;
  readonly chapters: 'matroska' | 'mp4' | undefined;
  /** The muxer's options for an output that cannot go back. */
  readonly streamOptions?: Readonly<Record<string, string>>;
}

const set = (...names: string[]): ReadonlySet<string> => new Set(names.flatMap((line) => line.split(' ')));

const PCM = ['pcm_s16le pcm_s16be pcm_s24le pcm_s24be pcm_s32le pcm_s32be pcm_f32le pcm_f32be pcm_f64le pcm_f64be'];

const MP4: Container = {
  muxer: 'mp4',
  video: ['h264', 'hevc', 'av1'],
  sound: set('aac mp3 mp2 ac3 eac3 dts alac opus flac', ...PCM),
  lossless: undefined,
  lossy: 'aac',
  subtitles: set('mov_text dvd_subtitle'),
  text: 'mov_text',
  data: set(),
  cover: 'stream',
  attachments: false,
  chapters: 'mp4',
};

const MOV: Container = {
  ...MP4,
  muxer: 'mov',
  sound: set('aac mp3 mp2 ac3 eac3 dts alac adpcm_ima_qt adpcm_ms pcm_u8 pcm_s8 pcm_alaw pcm_mulaw', ...PCM),
  lossless: 'pcm',
  subtitles: set('mov_text'),
};

const MATROSKA: Container = {
  muxer: 'matroska',
  video: ['h264', 'hevc', 'av1'],
  sound: set(
    'aac mp3 mp2 mp1 ac3 eac3 dts truehd mlp alac opus vorbis flac tta wavpack wmav1 wmav2 wmapro',
    'adpcm_ms adpcm_ima_wav pcm_u8 pcm_alaw pcm_mulaw pcm_s16le pcm_s24le pcm_s32le pcm_s16be pcm_s24be pcm_s32be pcm_f32le pcm_f64le',
  ),
  lossless: 'pcm',
  lossy: 'aac',
  subtitles: set('subrip ass ssa webvtt hdmv_pgs_subtitle hdmv_text_subtitle dvd_subtitle dvb_subtitle arib_caption'),
  text: 'subrip',
  data: set(),
  cover: 'attachment',
  attachments: true,
  chapters: 'matroska',
};

const WEBM: Container = {
  ...MATROSKA,
  muxer: 'webm',
  video: ['av1'],
  sound: set('opus vorbis'),
  lossless: undefined,
  lossy: 'libopus',
  subtitles: set('webvtt'),
  text: 'webvtt',
  cover: undefined,
  attachments: false,
};

const TS: Container = {
  ...MP4,
  muxer: 'mpegts',
  video: ['h264', 'hevc'],
  sound: set('aac aac_latm mp3 mp2 mp1 ac3 eac3 dts truehd opus'),
  subtitles: set('dvb_subtitle dvb_teletext hdmv_pgs_subtitle'),
  text: undefined,
  data: set('klv scte_35 timed_id3'),
  cover: undefined,
  chapters: undefined,
};

const BY_ENDING: Readonly<Record<string, Container>> = {
  '.mp4': MP4,
  '.m4v': MP4,
  '.mov': MOV,
  '.mkv': MATROSKA,
  '.webm': WEBM,
  '.ts': TS,
  '.mts': TS,
  '.m2ts': TS,
};

/** NUT has no limits of its own; these have a tag that its demuxer knows. */
const NUT: Container = {
  ...MATROSKA,
  muxer: 'nut',
  sound: set('aac mp3 mp2 ac3 dts opus vorbis flac pcm_u8 pcm_alaw pcm_mulaw', ...PCM),
  subtitles: set('ass ssa dvd_subtitle dvb_subtitle'),
  text: undefined,
  cover: undefined,
  attachments: false,
  chapters: undefined,
};

/** Of a result that is a stream: containers that are written from front to end, by the names that libav gives them. */
export const STREAM_FORMATS = {
  matroska: MATROSKA,
  mpegts: TS,
  nut: NUT,
  // In fragments, each with its own index; the header waits for the first one, which knows what ac3 and edit lists need.
  mp4: { ...MP4, streamOptions: { movflags: 'frag_keyframe+delay_moov+default_base_moof' } },
} as const satisfies Readonly<Record<string, Container>>;
export type StreamFormat = keyof typeof STREAM_FORMATS;
export const DEFAULT_STREAM_FORMAT: StreamFormat = 'matroska';

export const VIDEO_ENDINGS: readonly string[] = Object.keys(BY_ENDING);

/** By the ending of a name, whatever its case; undefined for endings that name no container of a video. */
export function containerOf(name: string): Container | undefined {
  return BY_ENDING[path.extname(name).toLowerCase()];
}
