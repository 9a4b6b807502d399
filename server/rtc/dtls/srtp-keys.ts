import type { KeySchedule } from './key-schedule.ts';

/** SRTP's protection profiles and keys (RFC 5764 section 4, RFC 7714 section 14.2). */

const PROFILES = {
  AEAD_AES_128_GCM: { id: 0x0007, keyBytes: 16, saltBytes: 12 },
  AEAD_AES_256_GCM: { id: 0x0008, keyBytes: 32, saltBytes: 12 },
  AES128_CM_HMAC_SHA1_80: { id: 0x0001, keyBytes: 16, saltBytes: 14 },
} as const;

export type SrtpProfileName = keyof typeof PROFILES;

export interface MasterKey {
  readonly masterKey: Buffer;
  readonly masterSalt: Buffer;
}

/** Keys of both directions. */
export interface SrtpKeyingMaterial<Profile extends SrtpProfileName = SrtpProfileName> {
  readonly profile: Profile;
  readonly client: MasterKey;
  readonly server: MasterKey;
}

export function profileIds(profiles: readonly SrtpProfileName[]): number[] {
  return profiles.map((profile) => PROFILES[profile].id);
}

/** The first of ours that the peer offers. */
export function chooseProfile(
  ours: readonly SrtpProfileName[],
  offered: readonly number[],
): SrtpProfileName | undefined {
  return ours.find((profile) => offered.includes(PROFILES[profile].id));
}

export function srtpKeys(profile: SrtpProfileName, schedule: KeySchedule): SrtpKeyingMaterial {
  const { keyBytes, saltBytes } = PROFILES[profile];
  const material = schedule.export('EXTRACTOR-dtls_srtp', 2 * (keyBytes + saltBytes));
  const salts = 2 * keyBytes;
  const part = (keyAt: number, saltAt: number): MasterKey => ({
    masterKey: material.subarray(keyAt, keyAt + keyBytes),
    masterSalt: material.subarray(saltAt, saltAt + saltBytes),
  });
  return { profile, client: part(0, salts), server: part(keyBytes, salts + saltBytes) };
}
