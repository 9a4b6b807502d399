import type { Config } from '../config.ts';
import type { AppError } from '../errors.ts';
import { BitrateController } from '../media/bitrate-controller.ts';
import { KeyframeRequests } from '../media/keyframe-requests.ts';
import type { MonotonicUs, ResultCodec, Rung, SourceCodec } from '../media/types.ts';
import type { EncoderRequest } from '../pipeline/messages.ts';
import type { ForwardPacket, PacketizedFrame } from '../rtc/peers.ts';
import type { BroadcastStats, SessionState } from '../signaling/protocol.ts';
import type { Viewer } from './viewer.ts';

/** What the audience asks of the broadcast. */
export interface AudienceRequests {
  setEncoders(encoders: readonly EncoderRequest[]): void;
  requestResultKeyframe(codec: ResultCodec, rung: Rung): void;
  requestSourceKeyframe(reason: string): void;
}
