import {
  GenericNack,
  RTCRtpTransceiver,
  ReceiverEstimatedMaxBitrate,
  RtcpPayloadSpecificFeedback,
  RtcpTransportLayerFeedback,
  type RTCPeerConnection,
  type RtpPacket,
} from 'werift';
import { FrameAssembler } from '../../server/media/assembler.ts';
import { JitterBuffer } from '../../server/media/jitter-buffer.ts';
import { Unwrapper } from '../../server/media/sequence.ts';
import type { AccessUnit } from '../../server/media/types.ts';
import {
  connected,
  createPeer,
  enlargeReceiveBuffers,
  negotiate,
  videoCodec,
  type PeerNetwork,
  type Signal,
} from './werift-loopback.ts';

export interface ViewedFrame {
  readonly codec: 'H264' | 'VP8';
  readonly data: Uint8Array;
  readonly keyframe: boolean;
  /** RTP timestamp, unwrapped, 90 kHz: the broadcast's media time plus a random offset of this viewer. */
  readonly timestamp: number;
  /** performance.now() of the frame's first packet and of its completion. */
  readonly firstPacketMs: number;
  readonly completeMs: number;
}

export interface NodeViewerOptions extends PeerNetwork {
  /** In order of preference; both by default. */
  readonly codecs?: readonly ('H264' | 'VP8')[];
  readonly source?: boolean;
  readonly audio?: boolean;
  readonly onFrame?: (frame: ViewedFrame, track: 'result' | 'source') => void;
  readonly onAudioPacket?: (sequenceNumber: number, timestamp: number, receivedAtMs: number, payload: Buffer) => void;
  /** Every packet of the result as it arrives, retransmitted ones under their first numbers. */
  readonly onResultPacket?: (sequenceNumber: number, ssrc: number) => void;
  /** Between two requests for a keyframe; 500 by default. */
  readonly pictureLossIntervalMs?: number;
  /** How long a missing packet is waited for. */
  readonly jitterMs?: number;
  /** Simulated loss of incoming datagrams, percent; lost packets are asked for again. */
  readonly lossPercent?: number;
  /** Keeps only counters, not frames: for many viewers in one process. */
  readonly countOnly?: boolean;
}

export interface NodeViewerStats {
  readonly frames: number;
  readonly keyframes: number;
  readonly packets: number;
  readonly packetsLost: number;
  readonly framesDropped: number;
  readonly bytes: number;
  /** Over the frames of the last two seconds. */
  readonly framesPerSecond: number;
  readonly joinMs: number | undefined;
}

interface Receiving {
  readonly jitter: JitterBuffer<RtpPacket>;
  readonly assembler: FrameAssembler;
  readonly sequences: Unwrapper;
  readonly timestamps: Unwrapper;
}

const nowUs = () => performance.now() * 1000;

/** Watches through real WebRTC: receives, puts in order, reassembles and times frames; decodes nothing. */
export class NodeViewer {
  readonly frames: ViewedFrame[] = [];
  readonly #options: NodeViewerOptions;
  readonly #peer: RTCPeerConnection;
  readonly #arrivalsMs: number[] = [];
  #frames = 0;
  #keyframes = 0;
  #packets = 0;
  #lost = 0;
  #dropped = 0;
  #bytes = 0;
  #startedAtMs = 0;
  #joinMs: number | undefined;
  #pictureLossAtUs = -Infinity;
  #newestSequence: number | undefined;
  #resultSsrc = 0;

  constructor(options: NodeViewerOptions = {}) {
    this.#options = options;
    const codecs = (options.codecs ?? ['H264', 'VP8']).map((codec) =>
      videoCodec(codec, ['goog-remb', 'nack', 'nack pli']),
    );
    this.#peer = createPeer(codecs, options, 'remb', options.lossPercent);
    const tracks: ('result' | 'source')[] = options.source === true ? ['result', 'source'] : ['result'];
    for (const track of tracks) {
      this.#receive(this.#peer.addTransceiver('video', { direction: 'recvonly' }), track);
    }
    if (options.audio === true) {
      this.#peer.addTransceiver('audio', { direction: 'recvonly' }).onTrack.subscribe((track) => {
        track.onReceiveRtp.subscribe(({ header, payload }) => {
          options.onAudioPacket?.(header.sequenceNumber, header.timestamp, performance.now(), payload);
        });
      });
    }
  }

  get connectionState(): string {
    return this.#peer.connectionState;
  }

  /** Offers and connects; frames come by the callback and, unless countOnly, in `frames`. */
  async start(signal: Signal): Promise<void> {
    this.#startedAtMs = performance.now();
    await negotiate(this.#peer, signal);
    await connected(this.#peer);
    enlargeReceiveBuffers(this.#peer);
  }

  /** @throws if fewer than `count` frames of the result arrive in time */
  async waitForFrames(count: number, withinMs = 30_000): Promise<void> {
    const end = performance.now() + withinMs;
    while (this.#frames < count) {
      if (performance.now() > end) throw new Error(`${this.#frames} of ${count} frames within ${withinMs} ms`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  getStats(): NodeViewerStats {
    const now = performance.now();
    const recent = this.#arrivalsMs.filter((at) => at > now - 2000);
    return {
      frames: this.#frames,
      keyframes: this.#keyframes,
      packets: this.#packets,
      packetsLost: this.#lost,
      framesDropped: this.#dropped,
      bytes: this.#bytes,
      framesPerSecond: recent.length / 2,
      joinMs: this.#joinMs,
    };
  }

  /** A hostile viewer: asks for the last packets of the result again, received or not. */
  requestAgain(count: number): void {
    const [transceiver] = this.#peer.getTransceivers();
    const newest = this.#newestSequence;
    if (transceiver === undefined || newest === undefined) return;
    const lost = Array.from({ length: count }, (_, back) => (newest - count + 1 + back) & 0xffff);
    const feedback = new GenericNack({ senderSsrc: 1, mediaSourceSsrc: this.#resultSsrc, lost });
    void transceiver.dtlsTransport.sendRtcp([new RtcpTransportLayerFeedback({ feedback })]);
  }

  /** REMB, as a browser says what its line takes; without it the viewer has no say in the shared bit rate. */
  sayEstimate(bitrateBps: number): void {
    const [transceiver] = this.#peer.getTransceivers();
    if (transceiver === undefined || this.#resultSsrc === 0) return;
    const brExp = Math.max(0, Math.ceil(Math.log2(bitrateBps / 2 ** 18)));
    const brMantissa = Math.floor(bitrateBps / 2 ** brExp);
    const ssrcFeedbacks = [this.#resultSsrc];
    const feedback = new ReceiverEstimatedMaxBitrate({ senderSsrc: 1, ssrcNum: 1, brExp, brMantissa, ssrcFeedbacks });
    void transceiver.dtlsTransport.sendRtcp([new RtcpPayloadSpecificFeedback({ feedback })]);
  }

  async stop(): Promise<void> {
    await this.#peer.close();
  }

  #receive(transceiver: RTCRtpTransceiver, track: 'result' | 'source'): void {
    transceiver.onTrack.subscribe((remote) => {
      const receiving: Receiving = {
        jitter: new JitterBuffer({ waitUs: (this.#options.jitterMs ?? 150) * 1000 }),
        sequences: new Unwrapper(16),
        timestamps: new Unwrapper(32),
        assembler: new FrameAssembler({
          onAccessUnit: (unit) => this.#onUnit(unit, track),
          onDrop: (_reason, count) => (this.#dropped += count),
          onKeyframeNeeded: () => this.#requestKeyframe(transceiver, remote.ssrc),
        }),
      };
      remote.onReceiveRtp.subscribe((packet) => {
        if (track === 'result') {
          this.#newestSequence = packet.header.sequenceNumber;
          this.#resultSsrc = packet.header.ssrc;
          this.#options.onResultPacket?.(packet.header.sequenceNumber, packet.header.ssrc);
        }
        this.#onPacket(transceiver, receiving, packet);
      });
    });
  }

  #onPacket(transceiver: RTCRtpTransceiver, receiving: Receiving, packet: RtpPacket): void {
    const at = nowUs();
    this.#packets += 1;
    this.#bytes += packet.payload.length;
    receiving.jitter.insert(receiving.sequences.unwrap(packet.header.sequenceNumber), packet, at);
    for (const { item, receivedAtUs, lostBefore } of receiving.jitter.drain(at)) {
      this.#lost += lostBefore;
      const { header, payload } = item;
      const codec = transceiver.codecs.find((candidate) => candidate.payloadType === header.payloadType);
      if (codec === undefined) continue;
      receiving.assembler.add(
        {
          packet: { payload, marker: header.marker, timestamp: header.timestamp },
          codec: codec.name.toUpperCase() === 'H264' ? 'H264' : 'VP8',
          mediaTime: receiving.timestamps.unwrap(header.timestamp),
          receivedAtUs,
          lostBefore,
        },
        at,
      );
    }
  }

  #onUnit(unit: AccessUnit, track: 'result' | 'source'): void {
    const completeMs = performance.now();
    if (track === 'result') {
      this.#frames += 1;
      if (unit.keyframe) this.#keyframes += 1;
      this.#joinMs ??= completeMs - this.#startedAtMs;
      this.#arrivalsMs.push(completeMs);
      if (this.#arrivalsMs.length > 256) this.#arrivalsMs.shift();
    }
    const frame: ViewedFrame = {
      codec: unit.codec === 'H264' ? 'H264' : 'VP8',
      data: unit.data,
      keyframe: unit.keyframe,
      timestamp: unit.mediaTime,
      firstPacketMs: unit.receivedAtUs / 1000,
      completeMs,
    };
    if (this.#options.countOnly !== true && track === 'result') this.frames.push(frame);
    this.#options.onFrame?.(frame, track);
  }

  #requestKeyframe(transceiver: RTCRtpTransceiver, ssrc: number | undefined): void {
    const intervalUs = (this.#options.pictureLossIntervalMs ?? 500) * 1000;
    if (ssrc === undefined || nowUs() - this.#pictureLossAtUs < intervalUs) return;
    this.#pictureLossAtUs = nowUs();
    void transceiver.receiver.sendRtcpPLI(ssrc);
  }
}
