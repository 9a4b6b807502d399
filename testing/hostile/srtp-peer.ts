import { createOwnCertificate } from '../../server/rtc/dtls/own-certificate.ts';
import { buildRtpHeader } from '../../server/media/rtp.ts';
import { SrtpSender } from '../../server/rtc/srtp.ts';
import { HostileDtlsPeer } from './dtls-peer.ts';
import { ValidatedPath } from './validated-path.ts';

export interface HandMadePacket {
  /** Unwrapped sequence number. */
  readonly index: number;
  readonly timestamp: number;
  readonly marker: boolean;
  readonly ssrc?: number;
  readonly payloadType?: number;
}

/** A publisher or viewer with honest ICE and DTLS whose packets are the test's: any RTP, any RTCP, any number of times. */
export class SrtpPeer {
  readonly path: ValidatedPath;
  readonly ssrc = 0x1234_5678;
  readonly #srtp: SrtpSender;

  private constructor(path: ValidatedPath, srtp: SrtpSender) {
    this.path = path;
    this.#srtp = srtp;
  }

  static async connect(url: string, kind: 'publish' | 'watch', name?: string): Promise<SrtpPeer> {
    const certificate = createOwnCertificate(30);
    const path = await ValidatedPath.open(url, {
      kind,
      offer: { fingerprint: certificate.sha256Fingerprint },
      ...(name === undefined ? {} : { name }),
    });
    const fingerprint = /a=fingerprint:sha-256 (\S+)/.exec(path.answer)?.[1] ?? '';
    const peer = new HostileDtlsPeer({
      role: 'client',
      certificate,
      remoteFingerprints: [{ algorithm: 'sha-256', value: fingerprint }],
      send: (datagram) => path.send(datagram),
    });
    path.onDatagram = (data) => {
      if ((data[0] as number) < 64) peer.receive(data);
    };
    peer.start();
    for (let waited = 0; peer.keys === undefined; waited += 10) {
      if (waited > 5000) throw new Error('the DTLS handshake was not finished within 5 s');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    const { client } = peer.keys; // HostileDtlsPeer offers this profile alone
    return new SrtpPeer(path, new SrtpSender({ profile: 'AEAD_AES_128_GCM', ...client }));
  }

  rtp(payload: Uint8Array, packet: HandMadePacket): Buffer {
    const { index, timestamp, marker, ssrc = this.ssrc, payloadType = 96 } = packet;
    const header = buildRtpHeader({ marker, payloadType, sequenceNumber: index & 0xffff, timestamp, ssrc });
    return this.#srtp.protect(header, payload, ssrc, index);
  }

  rtcp(compound: Buffer): Buffer {
    return this.#srtp.protectRtcp(compound);
  }

  send(datagram: Buffer): void {
    this.path.send(datagram);
  }

  close(): void {
    this.path.close();
  }
}
