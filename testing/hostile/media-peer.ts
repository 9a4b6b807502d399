import {
  MediaStream,
  MediaStreamTrack,
  type RTCDtlsTransport,
  type RTCPeerConnection,
  type RTCRtpCodecParameters,
} from 'werift';
import { buildRtpHeader } from '../../server/media/rtp.ts';
import { SrtpSender, saltBytes, type SrtpProfile } from '../../server/rtc/srtp.ts';
import { connected, createPeer, negotiate, videoCodec } from '../peers/werift-loopback.ts';
import { SignalingClient } from '../peers/signaling-client.ts';
import { sleep } from '../server-process.ts';

/**
 * A hostile publisher and a hostile viewer: real ICE and DTLS, then packets by hand, with any sequence number, SSRC and
 * contents, correctly encrypted.
 */

/** What werift's transport sends by, and our own sender's keys for it: any index, and cheap. */
function sendingBy(transport: RTCDtlsTransport): { readonly srtp: SrtpSender; send(packet: Buffer): Promise<void> } {
  const { dtls, iceTransport } = transport;
  if (dtls === undefined) throw new Error('werift has no DTLS connection yet');
  const profile: SrtpProfile = dtls.srtp.srtpProfile === 7 ? 'AEAD_AES_128_GCM' : 'AES128_CM_HMAC_SHA1_80';
  const keys = dtls.extractSessionKeys(16, saltBytes(profile));
  const srtp = new SrtpSender({ profile, masterKey: keys.localKey, masterSalt: keys.localSalt });
  return { srtp, send: (packet) => iceTransport.connection.send(packet).catch(() => undefined) };
}

export interface HostilePacket {
  /** Unwrapped sequence number. */
  readonly index: number;
  readonly timestamp?: number;
  readonly marker?: boolean;
  /** 16 bits; undefined: without the extension. */
  readonly transportSequence?: number;
  readonly ssrc?: number;
  /** Replaces all header extensions: the block with its 4 byte header (RFC 8285), a multiple of 4 bytes. */
  readonly extensionBlock?: Buffer;
}

export class HostilePublisher {
  readonly session: string;
  readonly signaling: SignalingClient;
  readonly ssrc: number;
  readonly #peer: RTCPeerConnection;
  readonly #payloadType: number;
  readonly #transportSequenceId: number;
  readonly #out: ReturnType<typeof sendingBy>;

  private constructor(
    signaling: SignalingClient,
    peer: RTCPeerConnection,
    answer: { readonly session: string; readonly sdp: string },
    sender: { readonly ssrc: number; readonly dtlsTransport: RTCDtlsTransport },
  ) {
    this.signaling = signaling;
    this.#peer = peer;
    this.session = answer.session;
    this.ssrc = sender.ssrc;
    this.#payloadType = Number(/m=video \d+ \S+ (\d+)/.exec(answer.sdp)?.[1]);
    this.#transportSequenceId = Number(/a=extmap:(\d+) \S*transport-wide-cc/.exec(answer.sdp)?.[1] ?? 0);
    this.#out = sendingBy(sender.dtlsTransport);
  }

  /** @param url of the server */
  static async connect(url: string, name: string, codec: 'H264' | 'VP8' = 'H264'): Promise<HostilePublisher> {
    const signaling = await SignalingClient.connect(url);
    const codecs: RTCRtpCodecParameters[] = [videoCodec(codec, ['transport-cc', 'nack', 'nack pli'])];
    const peer = createPeer(codecs, {}, 'transport-cc');
    const track = new MediaStreamTrack({ kind: 'video' });
    const sender = peer.addTrack(track, new MediaStream([track]));
    for (const transceiver of peer.getTransceivers()) transceiver.setDirection('sendonly');
    let answer = { session: '', sdp: '' };
    await negotiate(peer, async (offer) => (answer = await signaling.publish(name, offer)).sdp);
    await connected(peer);
    await sleep(200);
    return new HostilePublisher(signaling, peer, answer, sender);
  }

  /** The encrypted packet, to send as often as wanted. */
  protect(payload: Uint8Array, packet: HostilePacket): Buffer {
    const { index, timestamp = 0, marker = false, transportSequence, ssrc = this.ssrc, extensionBlock } = packet;
    const value = Buffer.alloc(2);
    value.writeUInt16BE((transportSequence ?? 0) & 0xffff);
    const header = buildRtpHeader(
      { marker, payloadType: this.#payloadType, sequenceNumber: index & 0xffff, timestamp, ssrc },
      transportSequence === undefined ? [] : [{ id: this.#transportSequenceId, value }],
    );
    if (extensionBlock === undefined) return this.#out.srtp.protect(header, payload, ssrc, index);
    header[0] = 0x90;
    return this.#out.srtp.protect(Buffer.concat([header.subarray(0, 12), extensionBlock]), payload, ssrc, index);
  }

  send(payload: Uint8Array, packet: HostilePacket): Promise<void> {
    return this.#out.send(this.protect(payload, packet));
  }

  sendProtected(packet: Buffer): Promise<void> {
    return this.#out.send(packet);
  }

  sendRtcp(packet: Buffer): Promise<void> {
    return this.#out.send(this.#out.srtp.protectRtcp(packet));
  }

  async stop(): Promise<void> {
    await this.signaling.leave(this.session).catch(() => undefined);
    await this.#peer.close();
    this.signaling.close();
  }
}

export class HostileViewer {
  readonly session: string;
  readonly signaling: SignalingClient;
  /** Of the peer's reports and requests. */
  readonly ssrc = 0x7a7a_7a01;
  /** Of the tracks it gets: result, then source. */
  readonly mediaSsrcs: readonly number[];
  readonly #peer: RTCPeerConnection;
  readonly #out: ReturnType<typeof sendingBy>;

  private constructor(
    signaling: SignalingClient,
    peer: RTCPeerConnection,
    answer: { readonly session: string; readonly sdp: string },
    transport: RTCDtlsTransport,
  ) {
    this.signaling = signaling;
    this.#peer = peer;
    this.session = answer.session;
    this.mediaSsrcs = [...answer.sdp.matchAll(/a=ssrc-group:FID (\d+) /g)].map((match) => Number(match[1]));
    this.#out = sendingBy(transport);
    // Away from the indices that werift has used; its own feedback is silenced, so that only what we send counts.
    for (let index = 0; index < 50; index += 1) this.#out.srtp.protectRtcp(Buffer.from([0x80, 201, 0, 1, 0, 0, 0, 1]));
    transport.sendRtcp = () => Promise.resolve(undefined);
  }

  static async connect(url: string, name: string, { source = false } = {}): Promise<HostileViewer> {
    const signaling = await SignalingClient.connect(url);
    const peer = createPeer([videoCodec('H264', ['goog-remb', 'nack', 'nack pli'])], {}, 'remb');
    const first = peer.addTransceiver('video', { direction: 'recvonly' });
    if (source) peer.addTransceiver('video', { direction: 'recvonly' });
    let answer = { session: '', sdp: '' };
    await negotiate(peer, async (offer) => (answer = await signaling.watch(name, offer)).sdp);
    await connected(peer);
    await sleep(200);
    return new HostileViewer(signaling, peer, answer, first.receiver.dtlsTransport);
  }

  sendRtcp(packet: Buffer): Promise<void> {
    return this.#out.send(this.#out.srtp.protectRtcp(packet));
  }

  async stop(): Promise<void> {
    await this.signaling.leave(this.session).catch(() => undefined);
    await this.#peer.close();
    this.signaling.close();
  }
}
