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
 * The WebSocket protocol of /ws, version 1: JSON text messages, each validated here. The page imports the types only.
 *
 * A client sends requests with an `id` of its own; every request is answered by exactly one message with `re` = that id:
 * the named reply or an `error`. A bad message gets an error and the socket stays usable. Pushes have no `re`.
 * One socket may publish one broadcast and watch several. Closing the socket ends its sessions; a publisher's name is kept
 * for `broadcast.resumeSeconds`, for whoever shows the resume token.
 *
 * Limits (config.limits): a message beyond maxMessageBytes gets an error, one four times as large closes the socket (1009);
 * beyond maxMessagesPerSecond messages get an error unread, beyond twice that for ten seconds the socket is closed (4429).
 * Other close codes: 1001 the server stops, 1013 too many connections of one address (an error comes first), 4400 another
 * protocol version (an error comes first), 4408 no hello within ten seconds. The server pings every 15 s; who misses two is
 * cut. Changes that old clients would misread raise the version.
 */
export const PROTOCOL_VERSION = 1;

const id = z.number().int().nonnegative();
const sdp = z
  .string()
  .min(1)
  .max(64 * 1024);
const session = z.string().min(1).max(64);

/** An ICE candidate as RTCIceCandidate.toJSON() gives it; an empty `candidate` string means end of candidates. */
export const candidate = z.object({
  candidate: z.string().max(1024),
  sdpMid: z.string().max(16).nullable().exactOptional(),
  sdpMLineIndex: z.number().int().min(0).max(15).nullable().exactOptional(),
});
export type IceCandidate = z.infer<typeof candidate>;

export const clientMessage = z.discriminatedUnion('type', [
  /** First message of a socket; the reply `welcome` tells what the server is. */
  z.object({ type: z.literal('hello'), id, version: z.number().int() }),
  z.object({ type: z.literal('publish'), id, name: broadcastName, sdp, resumeToken: z.string().max(128).optional() }),
  /** Also before the publisher is there: the session then waits in state `waiting`. m-lines: see rtc/peers.ts ViewerPeer.accept. */
  z.object({ type: z.literal('watch'), id, name: broadcastName, sdp }),
  z.object({ type: z.literal('restart'), id, session, sdp }),
  z.object({ type: z.literal('candidate'), id, session, candidate }),
  z.object({ type: z.literal('leave'), id, session }),
  /** `subscribe`: push `broadcasts` on every change from now on. */
  z.object({ type: z.literal('list'), id, subscribe: z.boolean().optional() }),
  z.object({ type: z.literal('ping'), id }),
]);
export type ClientMessage = z.infer<typeof clientMessage>;

export type ServerMessage =
  | {
      type: 'welcome';
      re: number;
      version: number;
      /** Product and version, for example `FlashVSR Live 0.1.0`. */
      server: string;
      model: ModelSummary;
      iceServers: readonly IceServer[];
    }
  | { type: 'published'; re: number; session: string; name: string; resumeToken: string; sdp: string }
  | { type: 'watching'; re: number; session: string; name: string; sdp: string; state: SessionState }
  | { type: 'restarted'; re: number; session: string; sdp: string }
  | { type: 'ok'; re: number }
  | { type: 'pong'; re: number }
  | ({ type: 'broadcasts'; re?: number } & BroadcastList)
  /** Without `re` when the message was not readable enough to have an id. */
  | ({ type: 'error'; re?: number } & WireError)
  // pushes
  | { type: 'candidate'; session: string; candidate: IceCandidate }
  /** `error`: only with `ended`, when it was not the client's wish; retryable says whether coming back is worth a try. */
  | { type: 'state'; session: string; state: SessionState; reason: string; error?: WireError }
  | { type: 'stats'; session: string; broadcast: BroadcastStats; viewer?: ViewerSessionStats };
