import {
  Audio,
  H264RtpPacketizer,
  PeerConnection,
  RtcpNackResponder,
  RtcpSrReporter,
  RtpPacketizationConfig,
  RtpPacketizer,
  Video,
  type Track,
} from 'node-datachannel';

const [AUDIO_SSRC, VIDEO_SSRC] = [4097879736, 4097879737];
const [OPUS, H264] = [111, 96];
const STREAM = 'XLnDTvNJVCcdmAmX';

/**
 * OBS Studio 32's WHIP output: its library (libdatachannel), its offer line for line (testdata/sdp/whip-obs32.2.2.sdp), no
 * candidates in it and none later, its packetizer and its reports. Nothing in it listens to a PLI. cleanup() of node-datachannel
 * 0.33.4 crashes or hangs after a peer with media handlers, and is not needed: the process ends without it.
 */
export class ObsPeer {
  readonly #peer = new PeerConnection('obs', { iceServers: [], bindAddress: '127.0.0.1' });
  readonly #audio: Track;
  readonly #video: Track;
  readonly #audioTimes = new RtpPacketizationConfig(AUDIO_SSRC, STREAM, OPUS, 48_000);
  readonly #videoTimes = new RtpPacketizationConfig(VIDEO_SSRC, STREAM, H264, 90_000);
  readonly #open: Promise<unknown>;

  constructor() {
    const audio = new Audio('0', 'SendOnly');
    audio.addOpusCodec(OPUS, 'minptime=10;maxaveragebitrate=96000;stereo=1;sprop-stereo=1;useinbandfec=1');
    audio.addSSRC(AUDIO_SSRC, STREAM, STREAM, `${STREAM}-audio`);
    const video = new Video('1', 'SendOnly');
    video.addH264Codec(H264, 'profile-level-id=42e01f;packetization-mode=1;level-asymmetry-allowed=1');
    video.addSSRC(VIDEO_SSRC, STREAM, STREAM, `${STREAM}-video`);
    this.#audio = this.#peer.addTrack(audio);
    this.#video = this.#peer.addTrack(video);
    for (const [track, packetizer, times] of [
      [this.#audio, new RtpPacketizer(this.#audioTimes), this.#audioTimes],
      [this.#video, new H264RtpPacketizer('StartSequence', this.#videoTimes), this.#videoTimes],
    ] as const) {
      packetizer.addToChain(new RtcpSrReporter(times));
      packetizer.addToChain(new RtcpNackResponder(4000));
      track.setMediaHandler(packetizer);
    }
    this.#open = Promise.all(
      [this.#audio, this.#video].map((track) => new Promise<void>((resolve) => track.onOpen(resolve))),
    );
  }

  get state(): string {
    return this.#peer.state();
  }

  /** @param signal gets the offer, as OBS sends it without waiting for candidates. Resolves when both tracks may send. */
  async start(signal: (offer: string) => Promise<string>): Promise<void> {
    this.#peer.setLocalDescription('offer');
    this.#peer.setRemoteDescription(await signal(asObsWrites(this.#peer.localDescription()?.sdp ?? '')), 'answer');
    await this.#open;
  }

  /** @param unit an Annex B access unit @param timestamp of 90 kHz; OBS has DTS there */
  sendVideo(unit: Buffer, timestamp: number): void {
    this.#videoTimes.timestamp = timestamp;
    this.#video.sendMessageBinary(unit);
  }

  /** @param packet an Opus packet @param timestamp of 48 kHz */
  sendAudio(packet: Buffer, timestamp: number): void {
    this.#audioTimes.timestamp = timestamp;
    this.#audio.sendMessageBinary(packet);
  }

  close(): void {
    this.#peer.close();
  }
}

/** OBS's version of the library differs in these lines, and has gathered nothing when it offers. Its a=extmap cannot be set. */
function asObsWrites(offer: string): string {
  return offer
    .replace(/^a=(candidate:.*|end-of-candidates)\r\n/gm, '')
    .replace(/^(m=\w+) \d+/gm, '$1 9')
    .replace(/^c=.*\r$/gm, 'c=IN IP4 0.0.0.0\r')
    .replace(/^a=ice-options:.*\r$/gm, 'a=ice-options:ice2,trickle trickle\r')
    .replace(/^(a=rtcp-fb:\d+) nack pli\r$/gm, '$1 nack pli\r\n$1 ccm fir\r');
}
