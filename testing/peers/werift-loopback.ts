import {
  RTCPeerConnection,
  RTCRtpCodecParameters,
  useAbsSendTime,
  useSdesMid,
  useTransportWideCC,
  type PeerConfig,
} from 'werift';

/** werift's own RTCPeerConnection as the far side: it shares ICE with the server, but no DTLS, SDP, SRTP or RTP code. */

export type Signal = (offerSdp: string) => Promise<string>;

export interface PeerNetwork {
  /** By default '127.0.0.1'; undefined: all interfaces. */
  readonly address?: string | undefined;
}

const H264 = { mimeType: 'video/H264', clockRate: 90_000 };
const VP8 = { mimeType: 'video/VP8', clockRate: 90_000 };

export function videoCodec(codec: 'H264' | 'VP8', feedback: readonly string[]): RTCRtpCodecParameters {
  const rtcpFeedback = feedback.map((entry) => {
    const [type = '', parameter] = entry.split(' ');
    return parameter === undefined ? { type } : { type, parameter };
  });
  return new RTCRtpCodecParameters(
    codec === 'H264'
      ? {
          ...H264,
          rtcpFeedback,
          parameters: 'level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f',
        }
      : { ...VP8, rtcpFeedback },
  );
}

export function createPeer(
  video: readonly RTCRtpCodecParameters[],
  { address = '127.0.0.1' }: PeerNetwork,
  feedback: 'transport-cc' | 'remb',
  lossPercent = 0,
): RTCPeerConnection {
  const rtx = () => new RTCRtpCodecParameters({ mimeType: 'video/rtx', clockRate: 90_000 });
  const opus = new RTCRtpCodecParameters({ mimeType: 'audio/opus', clockRate: 48_000, channels: 2 });
  const extensions =
    feedback === 'transport-cc' ? [useSdesMid(), useTransportWideCC()] : [useSdesMid(), useAbsSendTime()];
  const config: Partial<PeerConfig> = {
    codecs: { audio: [opus], video: video.flatMap((codec) => [codec, rtx()]) },
    headerExtensions: { audio: extensions, video: extensions },
    iceServers: [],
    iceUseIpv6: false,
    bundlePolicy: 'max-bundle',
    // werift 0.25.2 drops a datagram when `inboundPacketLoss / 100 < random()`: the option is the share that arrives.
    ...(lossPercent === 0 ? {} : { debug: { inboundPacketLoss: 100 - lossPercent } }),
    ...(address === undefined
      ? {}
      : {
          iceUseIpv4: false,
          iceInterfaceAddresses: { udp4: address },
          iceAdditionalHostAddresses: [address],
        }),
  };
  return new RTCPeerConnection(config);
}

/** In Linux at most net.core.rmem_max; half a second of a busy test process fills the default with a few Mbit/s. */
const RECEIVE_BUFFER_BYTES = 4 << 20;

/** werift opens its sockets with the system's default buffers and has no option for them. */
export function enlargeReceiveBuffers(peer: RTCPeerConnection): void {
  interface Opened {
    readonly protocols?: readonly {
      readonly transport?: { readonly socket?: { setRecvBufferSize?(bytes: number): void } };
    }[];
  }
  for (const { connection } of peer.iceTransports) {
    for (const { transport } of (connection as unknown as Opened).protocols ?? []) {
      transport?.socket?.setRecvBufferSize?.(RECEIVE_BUFFER_BYTES);
    }
  }
}

/** Offer with all candidates -> signal -> answer. */
export async function negotiate(peer: RTCPeerConnection, signal: Signal): Promise<void> {
  await peer.setLocalDescription(await peer.createOffer());
  const offer = peer.localDescription?.sdp;
  if (offer === undefined) throw new Error('werift made no offer');
  const answer = await signal(offer);
  await peer.setRemoteDescription({ type: 'answer', sdp: answer });
}

export function connected(peer: RTCPeerConnection, withinMs = 30_000): Promise<void> {
  if (peer.connectionState === 'connected') return Promise.resolve();
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`not connected within ${withinMs} ms`)), withinMs);
    peer.connectionStateChange.subscribe((state) => {
      if (state === 'connected') {
        clearTimeout(timer);
        resolve();
      } else if (state === 'failed' || state === 'closed') {
        clearTimeout(timer);
        reject(new Error(`the connection is ${state}`));
      }
    });
  });
}
