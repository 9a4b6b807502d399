import path from 'node:path';
import { z } from 'zod';
import { bearerToken, broadcastNameText, positive } from './common.ts';

/**
 * Where broadcasts go besides their viewers: a list, one entry an output. Each kind is an object of its own with a `type`; a new
 * kind is a new member of the union and a key in OUTPUT_KINDS of app.ts, without which it does not compile.
 */
const common = {
  /** Part of file names, paths and metrics' labels. */
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,31}$/, 'must be 1 to 32 letters, digits and dashes, the first no dash'),
  broadcast: z.union([z.literal('*'), broadcastNameText], {
    error: 'must be a broadcast\'s name such as "stage" or "room/participant", or "*" for every broadcast',
  }),
  track: z.enum(['result', 'source']).default('result'),
  enabled: z.boolean().default(true),
};

const recording = z.strictObject({
  ...common,
  type: z.literal('recording'),
  folder: z.string().min(1),
  /** `auto`: MP4 where it takes the codec, WebM otherwise. */
  container: z.enum(['auto', 'mp4', 'webm']).default('auto'),
  rotateSeconds: positive.max(7 * 86_400).default(3600),
  rotateBytes: z.number().int().min(1_000_000).default(4_000_000_000),
});

/** An address of one of these schemes; the message shows neither user nor key. */
function targetUrl(...schemes: readonly string[]) {
  return z.string().superRefine((text, context) => {
    const url = URL.canParse(text) ? new URL(text) : undefined;
    if (url !== undefined && url.hostname !== '' && schemes.includes(url.protocol)) return;
    const names = schemes.map((scheme) => `${scheme}//`).join(' or ');
    context.addIssue({ code: 'custom', message: `must be an address that begins with ${names} and names a host` });
  });
}

const rtmp = z.strictObject({
  ...common,
  type: z.literal('rtmp'),
  url: targetUrl('rtmp:', 'rtmps:'),
  /** PEM file with the certificates that rtmps trusts; without it those that Node brings. */
  caFile: z.string().min(1).exactOptional(),
});

const srt = z.strictObject({ ...common, type: z.literal('srt'), url: targetUrl('srt:') });

const rtsp = z.strictObject({ ...common, type: z.literal('rtsp'), url: targetUrl('rtsp:') });

const hls = z.strictObject({
  ...common,
  type: z.literal('hls'),
  folder: z.string().min(1),
  /** Each begins with a keyframe, which is asked for; a subscriber gets one every three seconds. */
  segmentSeconds: z.number().min(3).max(60).default(4),
  /** Segments in the playlist. */
  window: z.number().int().min(3).max(100).default(6),
  /** After the end of a broadcast, at least twice the playlist's length: a viewer may be behind. */
  keepSeconds: z.number().int().min(0).max(31_536_000).default(600),
});

const whip = z.strictObject({
  ...common,
  type: z.literal('whip'),
  url: targetUrl('https:', 'http:').refine(
    (url) => !URL.canParse(url) || new URL(url).username === '',
    'must not have a user; use "bearer"',
  ),
  /** For the origin of `url` alone. */
  bearer: bearerToken.optional(),
});

/** Pictures of 4:2:0 have even sides. */
const side = z.number().int().min(16).max(7680).multipleOf(2);

const camera = z.strictObject({
  ...common,
  type: z.literal('camera'),
  /** A loopback (v4l2loopback): other programs see a camera there. */
  device: z.string().regex(/^\/dev\/video\d{1,3}$/, 'must be a video device such as "/dev/video10"'),
  /** Programs keep the size that they began with: the pictures are fitted into it. */
  width: side.default(1280),
  height: side.default(720),
});

const BROADCAST_PLACE = '{broadcast}';

/**
 * An output's address for one broadcast. A publisher chooses the name: it must not choose the host (placeProblem), and it is letters,
 * digits and -._ in one or two parts, of which nothing but the slash means anything in a URL.
 */
export function addressFor(url: string, broadcast: string): string {
  return url.replaceAll(BROADCAST_PLACE, broadcast);
}

function placeProblem(url: string, broadcast: string): string | undefined {
  const [, host = '', path = ''] = /^[a-z]+:\/\/([^/?#]*)(.*)$/i.exec(url) ?? [];
  if (host.includes(BROADCAST_PLACE)) return `may have ${BROADCAST_PLACE} behind its host alone`;
  if (broadcast !== '*' || path.includes(BROADCAST_PLACE)) return undefined;
  return `must have ${BROADCAST_PLACE} behind its host when "broadcast" is "*": one address takes one broadcast`;
}

/** Both would write the same playlist. @returns the name of an output before this one */
function sharedFolder(outputs: readonly z.infer<typeof output>[], index: number): string | undefined {
  const own = outputs[index];
  if (own?.type !== 'hls') return undefined;
  const before = outputs.slice(0, index).filter((each) => each.type === 'hls');
  return before.find(({ broadcast, folder }) => {
    const sameBroadcast = broadcast === own.broadcast || broadcast === '*' || own.broadcast === '*';
    return sameBroadcast && path.resolve(folder) === path.resolve(own.folder);
  })?.name;
}

/** Of one output, whatever others there are. */
function* problemsOf(each: {
  type: string;
  broadcast: string;
  url?: string;
}): Generator<[key: string, message: string]> {
  if (each.type === 'camera' && each.broadcast === '*') {
    yield ['broadcast', 'must be one name: a camera shows one'];
  }
  const message = each.url === undefined ? undefined : placeProblem(each.url, each.broadcast);
  if (message !== undefined) yield ['url', message];
}

const output = z.discriminatedUnion('type', [recording, rtmp, srt, rtsp, hls, whip, camera]);

export const outputsList = z
  .array(output)
  .default([])
  .superRefine((outputs, context) => {
    outputs.forEach((each, index) => {
      for (const [key, message] of problemsOf(each)) context.addIssue({ code: 'custom', path: [index, key], message });
      const other = sharedFolder(outputs, index);
      if (other !== undefined) {
        const message = `is that of "${other}" for the same broadcast; each HLS output needs its own`;
        context.addIssue({ code: 'custom', path: [index, 'folder'], message });
      }
    });
    const names = outputs.map(({ name }) => name);
    names.forEach((name, index) => {
      if (names.indexOf(name) === index) return;
      context.addIssue({ code: 'custom', path: [index, 'name'], message: `"${name}" names another output already` });
    });
  });

/** What a client of the API may ask for: where files lie is the configuration's to say (`api.folder`). */
export const requestedOutput = z
  .discriminatedUnion('type', [
    recording.omit({ folder: true }),
    hls.omit({ folder: true }),
    rtmp.omit({ caFile: true }),
    ...[srt, rtsp, whip, camera],
  ])
  .superRefine((each, context) => {
    for (const [key, message] of problemsOf(each)) context.addIssue({ code: 'custom', path: [key], message });
  });

/** Its files lie in a folder of its own below `folder`: names of outputs differ. */
export function placedOutput(requested: z.infer<typeof requestedOutput>, folder: string): OutputConfig {
  if (requested.type !== 'recording' && requested.type !== 'hls') return requested;
  return { ...requested, folder: path.join(folder, requested.name) };
}

export type OutputConfig = Readonly<z.infer<typeof output>>;
export type OutputType = OutputConfig['type'];
export type OutputOf<Type extends OutputType> = Extract<OutputConfig, { readonly type: Type }>;
