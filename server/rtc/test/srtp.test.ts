import { randomBytes } from 'node:crypto';
import {
  ProtectionProfileAeadAes128Gcm,
  ProtectionProfileAes128CmHmacSha1_80,
  RtpHeader,
  SrtcpSession,
  SrtpSession,
} from 'werift';
import { describe, expect, it } from 'vitest';
import { buildPictureLoss } from '../../media/rtcp.ts';
import { buildRtpHeader } from '../../media/rtp.ts';
import { SrtpReceiver, SrtpSender, saltBytes, type SrtpKeys, type SrtpProfile } from '../srtp.ts';

const IDS = {
  AEAD_AES_128_GCM: ProtectionProfileAeadAes128Gcm,
  AES128_CM_HMAC_SHA1_80: ProtectionProfileAes128CmHmacSha1_80,
} as const;

function keysFor(profile: SrtpProfile): SrtpKeys {
  return { profile, masterKey: randomBytes(16), masterSalt: randomBytes(saltBytes(profile)) };
}

/** werift's implementation with the same keys in both directions. */
function weriftConfig(keys: SrtpKeys) {
  return {
    keys: {
      localMasterKey: keys.masterKey,
      localMasterSalt: keys.masterSalt,
      remoteMasterKey: keys.masterKey,
      remoteMasterSalt: keys.masterSalt,
    },
    profile: IDS[keys.profile],
  };
}

const SSRC = 0xcafe_babe;
const header = (index: number) =>
  buildRtpHeader({ marker: false, payloadType: 96, sequenceNumber: index, timestamp: index * 3, ssrc: SSRC }, [
    { id: 2, value: Buffer.from([1, 2, 3]) },
  ]);

describe.each(['AEAD_AES_128_GCM', 'AES128_CM_HMAC_SHA1_80'] as const)('SRTP %s', (profile) => {
  it('is the same as another implementation, byte for byte in both directions', () => {
    const keys = keysFor(profile);
    const sender = new SrtpSender(keys);
    const receiver = new SrtpReceiver(keys);
    const other = new SrtpSession(weriftConfig(keys));
    for (let index = 65_500; index < 65_600; index += 1) {
      const payload = randomBytes(1 + (index % 1100));
      const plain = Buffer.concat([header(index), payload]);
      const ours = sender.protect(header(index), payload, SSRC, index);
      expect(other.decrypt(ours).equals(plain)).toBe(true);
      const theirs = new SrtpSession(weriftConfig(keys));
      // A fresh session starts at rollover 0: comparable before the wrap.
      if (index < 65_536) {
        expect(theirs.encrypt(payload, RtpHeader.deSerialize(plain)).equals(ours)).toBe(true);
      }
      expect(receiver.unprotect(ours)?.equals(plain)).toBe(true);
    }
  });

  it('does SRTCP like the other implementation', () => {
    const keys = keysFor(profile);
    const other = new SrtcpSession(weriftConfig(keys));
    const sender = new SrtpSender(keys);
    const receiver = new SrtpReceiver(keys);
    for (let round = 0; round < 20; round += 1) {
      const plain = buildPictureLoss(SSRC, round);
      expect(other.decrypt(sender.protectRtcp(plain)).equals(plain)).toBe(true);
      expect(receiver.unprotectRtcp(other.encrypt(plain))?.equals(plain)).toBe(true);
    }
  });

  it('refuses replays, old packets and anything that was changed', () => {
    const keys = keysFor(profile);
    const sender = new SrtpSender(keys);
    const receiver = new SrtpReceiver(keys);
    const packet = sender.protect(header(7), Buffer.from('hello'), SSRC, 7);
    for (let at = 0; at < packet.length; at += 1) {
      const changed = Buffer.from(packet);
      changed[at] = (changed[at] as number) ^ 1;
      expect(receiver.unprotect(changed)).toBeUndefined();
    }
    expect(receiver.unprotect(packet)?.subarray(-5).toString()).toBe('hello');
    expect(receiver.unprotect(packet)).toBeUndefined();
    for (let index = 8; index < 3000; index += 1) {
      receiver.unprotect(sender.protect(header(index), Buffer.alloc(1), SSRC, index));
    }
    expect(receiver.unprotect(sender.protect(header(100), Buffer.alloc(1), SSRC, 100))).toBeUndefined();
    const rtcp = sender.protectRtcp(buildPictureLoss(1, 2));
    expect(receiver.unprotectRtcp(rtcp)).toEqual(buildPictureLoss(1, 2));
    expect(receiver.unprotectRtcp(rtcp)).toBeUndefined();
  });

  it('follows reordering across the rollover (RFC 3711 section 3.3.1)', () => {
    const keys = keysFor(profile);
    const sender = new SrtpSender(keys);
    const receiver = new SrtpReceiver(keys);
    for (const index of [65_530, 65_537, 65_535, 65_536, 65_534, 131_071 - 65_536 + 100]) {
      const plain = receiver.unprotect(sender.protect(header(index), Buffer.from([1]), SSRC, index));
      expect(plain?.equals(Buffer.concat([header(index), Buffer.of(1)])), String(index)).toBe(true);
    }
  });

  it('never throws on noise', () => {
    const receiver = new SrtpReceiver(keysFor(profile));
    for (let round = 0; round < 3000; round += 1) {
      const noise = randomBytes(round % 90);
      expect(receiver.unprotect(noise)).toBeUndefined();
      expect(receiver.unprotectRtcp(noise)).toBeUndefined();
    }
  });

  it('accepts each index of a jumping, reordered stream exactly once, like a set of all seen ones', () => {
    const keys = keysFor(profile);
    const sender = new SrtpSender(keys);
    const receiver = new SrtpReceiver(keys);
    const seen = new Set<number>();
    let newest = 5000;
    let seed = 7;
    const random = (below: number) => (seed = (seed * 48_271) % 0x7fff_ffff) % below;
    for (let round = 0; round < 3000; round += 1) {
      const index = Math.max(0, newest - 1100 + random(round % 50 === 0 ? 4000 : 1102));
      const expected = !seen.has(index) && index > newest - 1024;
      const accepted = receiver.unprotect(sender.protect(header(index), Buffer.of(1), SSRC, index)) !== undefined;
      if (round > 0) expect(accepted, `${index} after ${newest}`).toBe(expected);
      if (accepted) seen.add(index);
      if (accepted) newest = round === 0 ? index : Math.max(newest, index);
    }
  });

  it('keeps state for 64 SSRCs of each kind, and the streams in use among thousands that come once', () => {
    const keys = keysFor(profile);
    const sender = new SrtpSender(keys);
    const receiver = new SrtpReceiver(keys);
    const rtpOf = (ssrc: number, index: number) =>
      sender.protect(
        buildRtpHeader({ marker: false, payloadType: 96, sequenceNumber: index, timestamp: 1, ssrc }),
        Buffer.of(1),
        ssrc,
        index,
      );
    const video = rtpOf(1, 1000);
    expect(receiver.unprotect(video)?.length).toBe(13);
    for (let ssrc = 2; ssrc < 3000; ssrc += 1) {
      receiver.unprotect(rtpOf(ssrc, 5));
      receiver.unprotectRtcp(sender.protectRtcp(buildPictureLoss(ssrc, 1)));
      if (ssrc % 50 === 0) expect(receiver.unprotect(rtpOf(1, 1000 + ssrc))?.length).toBe(13);
    }
    expect(receiver.streams).toBe(128);
    // The stream in use still has its window: what it sent lately is a replay.
    expect(receiver.unprotect(rtpOf(1, 1000 + 2950))).toBeUndefined();
  });
});
