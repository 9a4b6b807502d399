import {
  type RtcpPacket,
  MediaStream,
  MediaStreamTrack,
  RtpHeader,
  RtpPacket,
  type RTCPeerConnection,
  type RTCRtpSender,
} from 'werift';
import { packetizeH264 } from '../../server/media/h264.ts';
import { packetizeVp8 } from '../../server/media/vp8.ts';
import type { Clip } from '../clip.ts';
import { connected, createPeer, negotiate, videoCodec, type PeerNetwork, type Signal } from './werift-loopback.ts';

export interface NodePublisherOptions extends PeerNetwork {
  readonly clip: Clip;
  /** Start again after the last frame (the default) or stop sending. */
  readonly loop?: boolean;
  /** Send 20 ms Opus packets: digital silence with a counter in an ignored tail is not valid Opus, so all are equal. */
  readonly audio?: boolean;
  /** Called as each frame's last packet is handed to the socket. @param number counts from 0, over loops too;
   *  @param clipFrame index into the clip */
  readonly onFrameSent?: (number: number, rtpTimestamp: number, sentAtMs: number, clipFrame: number) => void;
  /**
   * Simulated loss, asked for every video packet, not for retransmissions. `lost`: can be asked for again; `gone`: for
   * good, as after a loss longer than the retransmission cache.
   */
  readonly dropPacket?: (sequenceNumber: number) => 'lost' | 'gone' | undefined;
}

export interface NodePublisherStats {
  readonly framesSent: number;
  readonly packetsSent: number;
  readonly bytesSent: number;
  readonly pictureLossesReceived: number;
  readonly nacksReceived: number;
  readonly retransmitted: number;
}

/** An Opus packet of 20 ms silence (RFC 6716: CELT fullband, one frame). */
const OPUS_SILENCE = Buffer.from([0xf8, 0xff, 0xfe]);
const MAX_PAYLOAD_BYTES = 1100;

/**
 * werift 0.25.2 writes the decimal digits of the second's fraction where NTP has 1/2^32 s: its reports are wrong by up to
 * a second, and audio and video by different amounts. Replaced by the right value, taken at the same moment.
 */
function repairSenderReports(sender: RTCRtpSender): void {
  let ntp = 0n;
  Object.defineProperty(sender, 'ntpTimestamp', {
    get: () => ntp,
    set: () => {
      const ms = performance.timeOrigin + performance.now() - Date.UTC(1900, 0, 1);
      ntp = (BigInt(Math.floor(ms / 1000)) << 32n) | BigInt(Math.floor(((ms % 1000) / 1000) * 2 ** 32));
    },
  });
}

/** Noise that is the same in every run (mulberry32), so that what it finds can be found again. */
function seededBytes(seed: number): (length: number) => Buffer {
  let state = seed >>> 0;
  return (length) =>
    Buffer.from(
      Array.from({ length }, () => {
        state = (state + 0x6d2b79f5) >>> 0;
        let mixed = Math.imul(state ^ (state >>> 15), state | 1);
        mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
        return (mixed ^ (mixed >>> 14)) & 0xff;
      }),
    );
}

/** Sends a pre-encoded clip in real time through real WebRTC. A PLI makes it jump to the clip's next keyframe. */
export class NodePublisher {
  readonly #options: NodePublisherOptions;
  readonly #peer: RTCPeerConnection;
  readonly #video = new MediaStreamTrack({ kind: 'video' });
  readonly #audio = new MediaStreamTrack({ kind: 'audio' });
  readonly #sender: RTCRtpSender;
  #timer: NodeJS.Timeout | undefined;
  #startedAtMs = 0;
  #frame = 0;
  #clipIndex = 0;
  #seekKeyframe = false;
  #sequence = Math.floor(Math.random() * 0x8000);
  #audioSequence = Math.floor(Math.random() * 0x8000);
  #audioPackets = 0;
  #timestampOffset = Math.floor(Math.random() * 0x7fffffff);
  #pictureId = 0;
  #packets = 0;
  #bytes = 0;
  #pictureLosses = 0;
  #paused = false;

  constructor(options: NodePublisherOptions) {
    this.#options = options;
    const codec = videoCodec(options.clip.codec, ['transport-cc', 'nack', 'nack pli', 'ccm fir', 'goog-remb']);
    this.#peer = createPeer([codec], options, 'transport-cc');
    const stream = new MediaStream([this.#video]);
    this.#sender = this.#peer.addTrack(this.#video, stream);
    repairSenderReports(this.#sender);
    if (options.audio === true) repairSenderReports(this.#peer.addTrack(this.#audio, stream));
    for (const transceiver of this.#peer.getTransceivers()) transceiver.setDirection('sendonly');
    this.#sender.onPictureLossIndication.subscribe(() => {
      this.#pictureLosses += 1;
      this.#seekKeyframe = true;
    });
  }

  get connectionState(): string {
    return this.#peer.connectionState;
  }

  /** RTP timestamp of frame 0; frame n has this + n * 90000 / fps. */
  get timestampOffset(): number {
    return this.#timestampOffset;
  }

  /** Offers, connects and begins to send. */
  async start(signal: Signal): Promise<void> {
    await negotiate(this.#peer, signal);
    await connected(this.#peer);
    this.#startedAtMs = performance.now();
    this.#schedule();
  }

  /** Stops and resumes sending without leaving, as a browser does for a hidden or muted track. */
  pause(paused: boolean): void {
    this.#paused = paused;
    this.#seekKeyframe = true;
  }

  /**
   * A hostile publisher: authentic packets whose contents are noise - RTP with this stream's and other payload types,
   * RTX, header extensions, padding, and RTCP of every type - and datagrams that are nothing at all.
   */
  async sendNoise(packets: number, seed = 1): Promise<void> {
    const randomBytes = seededBytes(seed);
    const { dtlsTransport, ssrc, rtxSsrc } = this.#sender;
    for (let count = 0; count < packets; count += 1) {
      const noise = randomBytes(count % 200);
      if (count % 2 === 0) {
        const header = new RtpHeader({
          payloadType: [96, 97, 98, 111, noise[0] ?? 0][count % 5]! & 0x7f,
          sequenceNumber: noise.length > 2 ? noise.readUInt16BE(0) : count & 0xffff,
          timestamp: noise.length > 8 ? noise.readUInt32BE(4) : count,
          ssrc: [ssrc, rtxSsrc, count + 1][count % 3]!,
          marker: count % 3 === 0,
          extensions: count % 4 === 0 ? [{ id: 1 + (count % 14), payload: randomBytes(1 + (count % 16)) }] : [],
        });
        await dtlsTransport.sendRtp(noise, header);
      } else {
        const words = Buffer.concat([Buffer.alloc(8), noise]).subarray(0, 8 + (noise.length & ~3));
        randomBytes(8).copy(words);
        words[0] = 0x80 | ((words[0] as number) & 0x3f);
        words[1] = 200 + (count % 8);
        words.writeUInt16BE(count % 3 === 0 ? words.length / 4 - 1 : count % 60, 2);
        await dtlsTransport.sendRtcp([{ serialize: () => words } as unknown as RtcpPacket]);
      }
      // Not even SRTP: broken DTLS records and anything else, from this peer's own proven address.
      const raw = randomBytes(1 + (count % 80));
      raw[0] = [20, 21, 22, 23, 25, 63, 0, 1, 3, 64, 128, 200][count % 12]!;
      if (count % 12 < 4 && raw.length > 13) raw.writeUInt16BE(0xfefd, 1);
      await dtlsTransport.iceTransport.connection.send(raw);
      if (count % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
    }
  }

  getStats(): NodePublisherStats {
    const counters = this.#sender as unknown as { nackCount: number; retransmittedPacketsSent: number };
    return {
      framesSent: this.#frame,
      packetsSent: this.#packets,
      bytesSent: this.#bytes,
      pictureLossesReceived: this.#pictureLosses,
      nacksReceived: counters.nackCount,
      retransmitted: counters.retransmittedPacketsSent,
    };
  }

  async stop(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#peer.close();
  }

  /** Frames that are due are sent; a late timer catches up, so that the rate is right on average. */
  #schedule(): void {
    const { clip, loop = true, audio = false } = this.#options;
    const elapsedMs = performance.now() - this.#startedAtMs;
    while (this.#frame <= (elapsedMs * clip.framesPerSecond) / 1000) {
      if (!loop && this.#frame >= clip.frames.length) return;
      if (this.#paused) this.#frame += 1;
      else this.#sendFrame();
    }
    while (audio && this.#audioPackets <= elapsedMs / 20) this.#sendAudio();
    const nextMs = (this.#frame * 1000) / clip.framesPerSecond - (performance.now() - this.#startedAtMs);
    this.#timer = setTimeout(() => this.#schedule(), Math.max(1, audio ? Math.min(nextMs, 10) : nextMs));
  }

  #sendFrame(): void {
    const { clip, onFrameSent, dropPacket } = this.#options;
    if (this.#seekKeyframe) {
      this.#seekKeyframe = false;
      for (let ahead = 0; ahead < clip.frames.length; ahead += 1) {
        const index = (this.#clipIndex + ahead) % clip.frames.length;
        if (clip.frames[index]?.keyframe === true) {
          this.#clipIndex = index;
          break;
        }
      }
    }
    const clipFrame = this.#clipIndex;
    const data = clip.frames[clipFrame]?.data ?? Buffer.alloc(0);
    this.#clipIndex = (clipFrame + 1) % clip.frames.length;
    this.#pictureId = (this.#pictureId + 1) & 0x7fff;
    const payloads =
      clip.codec === 'H264'
        ? packetizeH264(data, MAX_PAYLOAD_BYTES)
        : packetizeVp8(data, this.#pictureId, MAX_PAYLOAD_BYTES);
    const timestamp = (this.#timestampOffset + Math.round((this.#frame * 90_000) / clip.framesPerSecond)) >>> 0;
    payloads.forEach((payload, index) => {
      this.#sequence = (this.#sequence + 1) & 0xffff;
      const packet = new RtpPacket(
        new RtpHeader({ sequenceNumber: this.#sequence, timestamp, marker: index === payloads.length - 1 }),
        payload,
      );
      this.#packets += 1;
      this.#bytes += payload.length;
      const fate = dropPacket?.(this.#sequence);
      if (fate === 'lost') this.#pretend(packet);
      else if (fate === undefined) this.#video.writeRtp(packet);
    });
    onFrameSent?.(this.#frame, timestamp, performance.now(), clipFrame);
    this.#frame += 1;
  }

  /** Puts a "lost" packet into the retransmission cache without sending it. */
  #pretend(packet: RtpPacket): void {
    const transport = this.#sender.dtlsTransport as unknown as {
      sendRtp: (...parameters: unknown[]) => Promise<number>;
    };
    const sendRtp = transport.sendRtp;
    transport.sendRtp = async () => 0;
    this.#video.writeRtp(packet); // synchronous up to sendRtp()
    transport.sendRtp = sendRtp;
  }

  #sendAudio(): void {
    this.#audioSequence = (this.#audioSequence + 1) & 0xffff;
    const timestamp = (this.#audioPackets * 960) >>> 0;
    this.#audioPackets += 1;
    const header = new RtpHeader({ sequenceNumber: this.#audioSequence, timestamp, marker: false });
    this.#audio.writeRtp(new RtpPacket(header, OPUS_SILENCE));
  }
}
