import { PeerConnection, Video, type Track } from 'node-datachannel';
import { buildRtpHeader } from '../../server/media/rtp.ts';

const PAYLOAD_TYPE = 96;
const SSRC = 0x1234567;

/** libdatachannel as a WebRTC client: another ICE (libjuice), DTLS (mbedTLS or OpenSSL) and SRTP (libsrtp) than any browser's. */
export class LibdatachannelPeer {
  readonly #peer: PeerConnection;
  readonly #track: Track;
  /** RTP and RTCP packets that came. */
  received = 0;
  #sequence = 0;

  constructor(direction: 'SendOnly' | 'RecvOnly', address = '127.0.0.1') {
    this.#peer = new PeerConnection('peer', { iceServers: [], bindAddress: address });
    const video = new Video('0', direction);
    video.addVP8Codec(PAYLOAD_TYPE);
    if (direction === 'SendOnly') video.addSSRC(SSRC, 'cname', 'stream', 'track');
    this.#track = this.#peer.addTrack(video);
    this.#track.onMessage(() => {
      this.received += 1;
    });
  }

  get state(): string {
    return this.#peer.state();
  }

  /** Offer with all candidates -> signal -> answer. */
  async start(signal: (offer: string) => Promise<string>): Promise<void> {
    const gathered = new Promise<void>((resolve) => {
      this.#peer.onGatheringStateChange((state) => {
        if (state === 'complete') resolve();
      });
    });
    this.#peer.setLocalDescription('offer');
    await gathered;
    const offer = this.#peer.localDescription()?.sdp ?? '';
    this.#peer.setRemoteDescription(await signal(offer), 'answer');
  }

  /** RTP whose payload begins as a VP8 descriptor does. */
  send(packets: number): void {
    for (let n = 0; n < packets; n += 1) {
      const header = buildRtpHeader({
        marker: true,
        payloadType: PAYLOAD_TYPE,
        sequenceNumber: this.#sequence & 0xffff,
        timestamp: this.#sequence * 3000,
        ssrc: SSRC,
      });
      this.#sequence += 1;
      this.#track.sendMessageBinary(Buffer.concat([header, Buffer.from([0x10, 0, 0, 0])]));
    }
  }

  close(): void {
    this.#peer.close();
  }
}
