import { AppError } from '../errors.ts';
import type { ResultCodec, SourceCodec } from '../media/types.ts';
import {
  EXTENSION,
  type AnswerCodec,
  type AnswerMedia,
  type Offer,
  type OfferedCodec,
  type OfferedMedia,
} from './sdp.ts';
import type { RemoteTransportParameters } from './transport.ts';

/** What is accepted of an offer: which sections, codecs, extensions and feedback. Pure: no sockets, no state. */

/** Everything goes over one transport (BUNDLE, RFC 9143) with RTP and RTCP together. @throws AppError */
export function commonTransport(offer: Offer, indices: readonly number[]): RemoteTransportParameters {
  const sections = indices.map((index) => offer.media[index] as OfferedMedia);
  const first = sections[0];
  if (first === undefined) throw new AppError('sdp.unsupported', 'The offer has no usable audio or video section.');
  for (const section of sections) {
    if (!/^(UDP|TCP)\/TLS\/RTP\/SAVPF?$/.test(section.protocol)) {
      throw new AppError('sdp.unsupported', `Media over ${section.protocol} is not supported, only DTLS-SRTP.`);
    }
    if (!section.rtcpMux) throw new AppError('sdp.unsupported', 'The offer does not multiplex RTCP (a=rtcp-mux).');
    if (sections.length > 1 && !offer.bundle.includes(section.mid)) {
      throw new AppError('sdp.unsupported', 'The offer does not bundle its media (a=group:BUNDLE).');
    }
  }
  const bundled = offer.media.find((media) => media.mid === offer.bundle[0] && media.transport !== undefined);
  const transport = (offer.bundle.includes(first.mid) ? bundled : undefined)?.transport ?? first.transport;
  if (transport === undefined) {
    throw new AppError('sdp.invalid', 'The offer lacks a=ice-ufrag, a=ice-pwd or a=fingerprint.');
  }
  return transport;
}

/** Sections that are neither rejected nor inactive, by kind, as indices. */
export function usableSections(
  offer: Offer,
  kind: 'audio' | 'video',
  directions: readonly OfferedMedia['direction'][],
): number[] {
  return offer.media.flatMap((media, index) => {
    const offered = media.port !== 0 || offer.bundle.includes(media.mid);
    return media.kind === kind && offered && directions.includes(media.direction) ? [index] : [];
  });
}

export function findOpus(media: OfferedMedia): OfferedCodec | undefined {
  return media.codecs.find((codec) => codec.name === 'OPUS' && codec.clockRate === 48_000);
}

function rtxFor(media: OfferedMedia, payloadType: number): OfferedCodec | undefined {
  return media.codecs.find((codec) => codec.name === 'RTX' && codec.parameters.get('apt') === String(payloadType));
}

/** Constrained baseline first (every encoder and decoder has it), then baseline, main, high (RFC 6184 section 8.1). */
export function h264Rank(codec: OfferedCodec): number {
  const profile = (codec.parameters.get('profile-level-id') ?? '42001f').toLowerCase();
  const constraints = parseInt(profile.slice(2, 4), 16);
  const baseline = profile.startsWith('42');
  if (baseline && (constraints & 0x40) !== 0) return 0;
  if (baseline) return 1;
  if (profile.startsWith('4d')) return 2;
  return profile.startsWith('64') ? 3 : 4;
}

/** The codecs we can use of a section, the peer's order kept, H264 only in packetization-mode 1 and by h264Rank(). */
export function usableVideoCodecs(media: OfferedMedia): UsableCodec[] {
  const usable = media.codecs.flatMap((offered): UsableCodec[] => {
    const codec = usableAs(offered);
    return codec === undefined ? [] : [{ ...offered, codec }];
  });
  const h264 = usable.filter(({ codec }) => codec === 'H264').sort((a, b) => h264Rank(a) - h264Rank(b));
  let next = 0;
  return usable.map((codec) => (codec.codec === 'H264' ? (h264[next++] as UsableCodec) : codec));
}

type UsableCodec = OfferedCodec & { readonly codec: SourceCodec };

function usableAs(offered: OfferedCodec): SourceCodec | undefined {
  if (offered.clockRate !== 90_000) return undefined;
  if (offered.name === 'VP8') return 'VP8';
  // Profile 0 only: 8 bit 4:2:0 is what decoder and upscaler take.
  if (offered.name === 'VP9') return (offered.parameters.get('profile-id') ?? '0') === '0' ? 'VP9' : undefined;
  const mode1 = offered.name === 'H264' && offered.parameters.get('packetization-mode') === '1';
  return mode1 && h264Rank(offered) < 4 ? 'H264' : undefined;
}

/** Back to SDP: VP8 has no parameters, and an empty a=fmtp would be malformed. */
function answerCodec(offered: OfferedCodec, parameters: ReadonlyMap<string, string>, feedback: string[]): AnswerCodec {
  const { payloadType, name, clockRate, channels } = offered;
  const text = [...parameters].map(([key, value]) => (value === '' ? key : `${key}=${value}`)).join(';');
  return { payloadType, name, clockRate, channels, feedback, ...(text === '' ? {} : { parameters: text }) };
}

/** Levels of H.264 table A-1: level_idc, macroblocks per frame, macroblocks per second. */
const H264_LEVELS: readonly (readonly [number, number, number])[] = [
  [30, 1620, 40_500],
  [31, 3600, 108_000],
  [32, 5120, 216_000],
  [40, 8192, 245_760],
  [42, 8704, 522_240],
  [50, 22_080, 589_824],
  [51, 36_864, 983_040],
  [52, 36_864, 2_073_600],
  [60, 139_264, 4_177_920],
];

/** @returns level_idc of the lowest level for a picture size and rate, at least 3.1 */
export function h264Level(width: number, height: number, framesPerSecond: number): number {
  const macroblocks = Math.ceil(width / 16) * Math.ceil(height / 16);
  const level = H264_LEVELS.find(
    ([idc, perFrame, perSecond]) => idc >= 31 && macroblocks <= perFrame && macroblocks * framesPerSecond <= perSecond,
  );
  return level?.[0] ?? 62;
}

export interface PublisherPlan {
  readonly answer: ReadonlyMap<number, AnswerMedia>;
  readonly transport: RemoteTransportParameters;
  readonly candidates: readonly string[];
  readonly videoCodecs: ReadonlyMap<number, SourceCodec>;
  /** RTX payload type -> the payload type it repairs. */
  readonly rtx: ReadonlyMap<number, number>;
  readonly audioPayloadType: number | undefined;
  readonly transportSequenceId: number | undefined;
  readonly colourSpaceId: number | undefined;
}

/** @throws AppError sdp.unsupported | sdp.invalid */
export function planPublisher(
  offer: Offer,
  limits: { readonly startBitrateBps: number; readonly maxBitrateBps: number | undefined },
): PublisherPlan {
  const video = usableSections(offer, 'video', ['sendonly', 'sendrecv']);
  const audio = usableSections(offer, 'audio', ['sendonly', 'sendrecv']);
  if (video.length > 1 || audio.length > 1) {
    const count = video.length > 1 ? `${video.length} video` : `${audio.length} audio`;
    throw new AppError('sdp.unsupported', `The offer sends ${count} tracks; one of each kind is taken.`);
  }
  const videoIndex = video[0];
  if (videoIndex === undefined) throw new AppError('sdp.unsupported', 'The offer sends no video track.');
  const media = offer.media[videoIndex] as OfferedMedia;
  const codecs = usableVideoCodecs(media);
  if (codecs.length === 0) {
    const names = [...new Set(media.codecs.map((codec) => codec.name))].join(', ');
    throw new AppError('sdp.unsupported', `None of the offered video codecs can be used: ${names || 'none'}.`);
  }
  const answer = new Map<number, AnswerMedia>();
  const rtx = new Map<number, number>();
  const kbps = Math.round(limits.startBitrateBps / 1000);
  const answerCodecs = codecs.flatMap((codec): AnswerCodec[] => {
    const repair = rtxFor(media, codec.payloadType);
    if (repair !== undefined) rtx.set(repair.payloadType, codec.payloadType);
    const parameters = new Map(codec.parameters);
    if (limits.maxBitrateBps !== undefined) {
      parameters.set('x-google-max-bitrate', String(Math.round(limits.maxBitrateBps / 1000)));
    }
    parameters.set('x-google-start-bitrate', String(kbps)); // skips libwebrtc's slow start from 300 kbit/s
    // goog-remb and ccm fir are left out: with transport-cc the former is ignored, and we never send the latter.
    const feedback = codec.feedback.filter((fb) => ['transport-cc', 'nack', 'nack pli'].includes(fb));
    const primary = answerCodec(codec, parameters, feedback);
    return repair === undefined ? [primary] : [primary, rtxCodec(repair, codec.payloadType)];
  });
  const { extensions, transportSequenceId, colourSpaceId } = publisherExtensions(media);
  answer.set(videoIndex, {
    direction: 'recvonly',
    codecs: answerCodecs,
    extensions,
    maxBitrateBps: limits.maxBitrateBps,
  });
  const audioIndex = audio[0];
  const audioMedia = audioIndex === undefined ? undefined : offer.media[audioIndex];
  const opus = audioMedia === undefined ? undefined : findOpus(audioMedia);
  if (audioIndex !== undefined && audioMedia !== undefined && opus !== undefined) {
    answer.set(audioIndex, {
      direction: 'recvonly',
      codecs: [
        opusCodec(
          opus,
          opus.feedback.filter((fb) => fb === 'transport-cc'),
        ),
      ],
      extensions: publisherExtensions(audioMedia).extensions,
    });
  }
  const indices = [...answer.keys()].sort((a, b) => a - b);
  return {
    answer,
    transport: commonTransport(offer, indices),
    candidates: offer.media.flatMap((section) => section.candidates),
    videoCodecs: new Map(codecs.map((codec) => [codec.payloadType, codec.codec])),
    rtx,
    audioPayloadType: opus?.payloadType,
    transportSequenceId,
    colourSpaceId,
  };
}

function rtxCodec(repair: OfferedCodec, payloadType: number): AnswerCodec {
  return answerCodec({ ...repair, name: 'rtx' }, new Map([['apt', String(payloadType)]]), []);
}

function opusCodec(opus: OfferedCodec, feedback: string[]): AnswerCodec {
  const parameters = new Map([
    ['minptime', '10'],
    ['useinbandfec', '1'],
  ]);
  return answerCodec({ ...opus, name: 'opus' }, parameters, feedback);
}

/** Video orientation is deliberately absent: without it browsers rotate the picture before encoding. */
function publisherExtensions(media: OfferedMedia) {
  const extensions = [EXTENSION.mid, EXTENSION.transportSequence, EXTENSION.colourSpace].flatMap((uri) => {
    const id = media.extensions.get(uri);
    return id === undefined ? [] : [{ id, uri }];
  });
  return {
    extensions,
    transportSequenceId: media.extensions.get(EXTENSION.transportSequence),
    colourSpaceId: media.extensions.get(EXTENSION.colourSpace),
  };
}

export interface ViewerTrackPlan {
  readonly index: number;
  /** One for the result and audio, all usable ones for the source. */
  readonly payloadTypes: ReadonlyMap<
    SourceCodec | 'opus',
    { readonly payloadType: number; readonly rtx: number | undefined }
  >;
  readonly absoluteSendTimeId: number | undefined;
  /** The source alone is told by packet what its colours are; results are what a receiver takes for granted. */
  readonly colourSpaceId: number | undefined;
  readonly codecs: readonly AnswerCodec[];
  readonly extensions: AnswerMedia['extensions'];
}

export interface ViewerPlan {
  readonly transport: RemoteTransportParameters;
  readonly candidates: readonly string[];
  readonly resultCodec: ResultCodec;
  readonly result: ViewerTrackPlan;
  readonly source: ViewerTrackPlan | undefined;
  readonly audio: ViewerTrackPlan | undefined;
}

const VIEWER_FEEDBACK = ['goog-remb', 'nack', 'nack pli'];

/**
 * First video section: the result; second: the source; first audio section: audio. H264 is preferred for the result, it
 * costs a third of VP8 to encode.
 * @throws AppError sdp.unsupported | sdp.invalid
 */
export function planViewer(offer: Offer, maxOutput: { readonly width: number; readonly height: number }): ViewerPlan {
  const [resultIndex, sourceIndex, ...more] = usableSections(offer, 'video', ['recvonly', 'sendrecv']);
  const [audioIndex, ...moreAudio] = usableSections(offer, 'audio', ['recvonly', 'sendrecv']);
  if (more.length > 0 || moreAudio.length > 0) {
    throw new AppError(
      'sdp.unsupported',
      'A viewer may ask for two video tracks (result, source) and one audio track.',
    );
  }
  if (resultIndex === undefined) {
    throw new AppError('sdp.unsupported', 'The offer has no video section that receives (a=recvonly).');
  }
  const media = offer.media[resultIndex] as OfferedMedia;
  const usable = usableVideoCodecs(media);
  const chosen = usable.find((codec) => codec.codec === 'H264') ?? usable.find((codec) => codec.codec === 'VP8');
  if (chosen === undefined) {
    throw new AppError('sdp.unsupported', 'The viewer takes neither H264 (packetization-mode 1) nor VP8.');
  }
  const result = videoTrack(media, resultIndex, [chosen], maxOutput);
  const sourceMedia = sourceIndex === undefined ? undefined : offer.media[sourceIndex];
  const sourceCodecs = sourceMedia === undefined ? [] : firstOfEach(usableVideoCodecs(sourceMedia));
  const source =
    sourceIndex === undefined || sourceMedia === undefined || sourceCodecs.length === 0
      ? undefined
      : { ...videoTrack(sourceMedia, sourceIndex, sourceCodecs, maxOutput), ...sourceExtensions(sourceMedia) };
  const audioMedia = audioIndex === undefined ? undefined : offer.media[audioIndex];
  const opus = audioMedia === undefined ? undefined : findOpus(audioMedia);
  const audio =
    audioIndex === undefined || audioMedia === undefined || opus === undefined
      ? undefined
      : audioTrack(audioMedia, audioIndex, opus);
  const indices = [result, source, audio].flatMap((track) => (track === undefined ? [] : [track.index]));
  return {
    transport: commonTransport(
      offer,
      indices.sort((a, b) => a - b),
    ),
    candidates: offer.media.flatMap((section) => section.candidates),
    resultCodec: chosen.codec === 'H264' ? 'H264' : 'VP8',
    result,
    source,
    audio,
  };
}

function firstOfEach<T extends { readonly codec: SourceCodec }>(codecs: readonly T[]): T[] {
  return codecs.filter((codec, index) => codecs.findIndex((other) => other.codec === codec.codec) === index);
}

function videoTrack(
  media: OfferedMedia,
  index: number,
  codecs: readonly (OfferedCodec & { readonly codec: SourceCodec })[],
  maxOutput: { readonly width: number; readonly height: number },
): ViewerTrackPlan {
  const payloadTypes = new Map<SourceCodec | 'opus', { payloadType: number; rtx: number | undefined }>();
  const answer = codecs.flatMap((codec): AnswerCodec[] => {
    const repair = rtxFor(media, codec.payloadType);
    payloadTypes.set(codec.codec, { payloadType: codec.payloadType, rtx: repair?.payloadType });
    const parameters = new Map(codec.parameters);
    if (codec.codec === 'H264') {
      const offered = parameters.get('profile-level-id') ?? '42e01f';
      const level = h264Level(maxOutput.width, maxOutput.height, 60).toString(16).padStart(2, '0');
      parameters.set('level-asymmetry-allowed', '1');
      parameters.set('profile-level-id', offered.slice(0, 4) + level);
    }
    const feedback = codec.feedback.filter((fb) => VIEWER_FEEDBACK.includes(fb));
    const primary = answerCodec(codec, parameters, feedback);
    return repair === undefined ? [primary] : [primary, rtxCodec(repair, codec.payloadType)];
  });
  return { index, payloadTypes, codecs: answer, ...viewerExtensions(media) };
}

function audioTrack(media: OfferedMedia, index: number, opus: OfferedCodec): ViewerTrackPlan {
  return {
    index,
    payloadTypes: new Map([['opus', { payloadType: opus.payloadType, rtx: undefined }]]),
    codecs: [opusCodec(opus, [])],
    ...viewerExtensions(media),
  };
}

function viewerExtensions(media: OfferedMedia) {
  const id = media.extensions.get(EXTENSION.absoluteSendTime);
  return {
    absoluteSendTimeId: id,
    colourSpaceId: undefined,
    extensions: id === undefined ? [] : [{ id, uri: EXTENSION.absoluteSendTime }],
  };
}

function sourceExtensions(media: OfferedMedia) {
  const { extensions } = viewerExtensions(media);
  const id = media.extensions.get(EXTENSION.colourSpace);
  return {
    colourSpaceId: id,
    extensions: id === undefined ? extensions : [...extensions, { id, uri: EXTENSION.colourSpace }],
  };
}
