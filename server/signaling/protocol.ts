import { z } from 'zod';
import type {
  BroadcastList,
  BroadcastStats,
  ModelSummary,
  SessionState,
  ViewerSessionStats,
} from '../broadcast/statistics.ts';
import { broadcastName } from '../broadcast/name.ts';
import type { IceServer } from '../config/sections/ice.ts';
import type { WireError } from '../wire-error.ts';

export type { WireError } from '../wire-error.ts';

export type {
  BroadcastList,
  BroadcastStats,
  BroadcastSummary,
  ModelSummary,
  SessionState,
  ViewerSessionStats,
} from '../broadcast/statistics.ts';

/**
 * The WebSocket protocol of /ws: JSON text messages, each validated here. The page imports the types only; docs/protocol.md is
 * made from this file (`npm run docs`).
 *
 * - A client sends requests with an `id` it chooses. Each request gets exactly one message with `re` = that id: its
 *   reply (REPLIES) or an `error`. Pushes have no `re`.
 * - A bad message gets an error, with `re` where an `id` can be read in it, and the socket stays usable.
 * - One socket publishes at most one broadcast and watches up to 16. Closing it ends its sessions. The publisher's name stays
 *   reserved for `broadcast.resumeSeconds`; the resume token claims it again.
 * - JSON nests at most 32 levels. Size and rate: `limits.maxMessageBytes`, `limits.maxMessagesPerSecond`.
 * - A change that old clients would misread raises the version.
 */
export const PROTOCOL_VERSION = 1;

const id = z.number().int().nonnegative();
const sdp = z
  .string()
  .min(1)
  .max(64 * 1024);
const session = z.string().min(1).max(64);
/** As `Authorization: Bearer` carries it (RFC 6750 section 2.1). */
const token = z
  .string()
  .max(4096)
  .regex(/^[\w\-.~+/]+=*$/);
/** Pictures that are not shown are not sent. */
const shown = { result: z.boolean(), source: z.boolean() };

/** An ICE candidate as RTCIceCandidate.toJSON() gives it; an empty `candidate` string means end of candidates. */
export const candidate = z.object({
  candidate: z.string().max(1024),
  sdpMid: z.string().max(16).nullable().exactOptional(),
  sdpMLineIndex: z.number().int().min(0).max(15).nullable().exactOptional(),
});
export type IceCandidate = z.infer<typeof candidate>;

export const clientMessage = z.discriminatedUnion('type', [
  z
    .object({ type: z.literal('hello'), id, version: z.number().int(), token: token.optional() })
    .describe(
      'The first message of a socket. `token` is what the server asks for unless it is open (docs/access.md); a later hello replaces it.',
    ),
  z
    .object({ type: z.literal('publish'), id, name: broadcastName, sdp, resumeToken: z.string().max(128).optional() })
    .describe(
      'Offers video and at most one audio track. The resume token of an earlier `published` takes the name over; for a free name it, or another token of 32 characters of base64url, is the name’s again.',
    ),
  // m-lines: rtc/peers.ts, ViewerPeer.accept.
  z
    .object({ type: z.literal('watch'), id, name: broadcastName, sdp, show: z.object(shown).optional() })
    .describe(
      'Offers to receive. Possible before the publisher is there: the session is then in state `waiting`. `show` begins with less than is offered.',
    ),
  z
    .object({ type: z.literal('show'), id, session, ...shown })
    .describe(
      'Which of the offered pictures the viewer shows from now on: the others are not sent, and begin again with a keyframe.',
    ),
  z.object({ type: z.literal('restart'), id, session, sdp }).describe('A new offer of a session: ICE restart.'),
  z.object({ type: z.literal('candidate'), id, session, candidate }).describe('A trickled ICE candidate (RFC 8838).'),
  z.object({ type: z.literal('leave'), id, session }).describe('Ends a session of this socket.'),
  z
    .object({ type: z.literal('list'), id, subscribe: z.boolean().optional() })
    .describe('The broadcasts; with `subscribe: true` also pushed on every change, with `false` no longer.'),
  z
    .object({ type: z.literal('share'), id, name: broadcastName })
    .describe('Asks for a token that lets others watch a name that this client may publish (`access.linkSeconds`).'),
  z.object({ type: z.literal('ping'), id }).describe('For pages, which cannot see WebSocket pings.'),
]);
export type ClientMessage = z.infer<typeof clientMessage>;

export type ServerMessage =
  | {
      type: 'welcome';
      re: number;
      version: number;
      /** Product and version, for example `FlashVSR Live 0.2.0`. */
      server: string;
      /** `open`: no client needs a token. */
      access: 'open' | 'tokens' | 'jwt' | 'webhook';
      model: ModelSummary;
      iceServers: readonly IceServer[];
    }
  | { type: 'published'; re: number; session: string; name: string; resumeToken: string; sdp: string }
  | { type: 'watching'; re: number; session: string; name: string; sdp: string; state: SessionState }
  | { type: 'restarted'; re: number; session: string; sdp: string }
  /** For the fragment of a link, `/watch/NAME#key=TOKEN`. */
  | { type: 'shared'; re: number; name: string; token: string; expiresAt: string }
  | { type: 'ok'; re: number }
  | { type: 'pong'; re: number }
  | ({ type: 'broadcasts'; re?: number } & BroadcastList)
  /** Without `re` when no id can be read in the message. */
  | ({ type: 'error'; re?: number } & WireError)
  // pushes
  /** The server stops within this many seconds and takes no new sessions; those that run go on until then. */
  | { type: 'draining'; withinSeconds: number }
  | { type: 'candidate'; session: string; candidate: IceCandidate }
  /** `error`: only with `ended`, when it was not the client's wish; retryable says whether coming back is worth a try. */
  | { type: 'state'; session: string; state: SessionState; reason: string; error?: WireError }
  | { type: 'stats'; session: string; broadcast: BroadcastStats; viewer?: ViewerSessionStats };

/** The reply of each request that succeeds. */
export const REPLIES = {
  hello: 'welcome',
  publish: 'published',
  watch: 'watching',
  show: 'ok',
  restart: 'restarted',
  candidate: 'ok',
  leave: 'ok',
  list: 'broadcasts',
  share: 'shared',
  ping: 'pong',
} as const satisfies Record<ClientMessage['type'], ServerMessage['type']>;

export type RequestType = ClientMessage['type'];
/** A request as callers write it: the client numbers it. */
export type RequestOf<Type extends RequestType> = { type: Type } & Omit<Extract<ClientMessage, { type: Type }>, 'id'>;
export type ReplyTo<Type extends RequestType> = Extract<ServerMessage, { type: (typeof REPLIES)[Type] }>;

/** Close codes of /ws beside those that RFC 6455 gives for broken frames; 44xx is the private range, 400 + as in HTTP. */
export const CLOSE_CODES = {
  goingAway: { code: 1001, when: 'The server stops.' },
  tooLarge: { code: 1009, when: 'A message of more than four times `limits.maxMessageBytes`; it is not read.' },
  internal: {
    code: 1011,
    when: 'The server met a defect while it handled a message. Connecting again is worth a try.',
  },
  tryAgainLater: {
    code: 1013,
    when: 'More than `limits.maxConnectionsPerAddress` WebSockets of one address; an error comes first.',
  },
  versionMismatch: { code: 4400, when: 'Another protocol version; an error comes first.' },
  noHello: { code: 4408, when: 'No hello within ten seconds.' },
  tooManyMessages: {
    code: 4429,
    when: 'More than twice `limits.maxMessagesPerSecond` for ten seconds. Up to there, messages above the limit get an error.',
  },
  lost: {
    code: 1006,
    when: 'Two pings (every 15 s) went unanswered, or 4 MiB wait to be read: the connection is cut.',
  },
} as const;
