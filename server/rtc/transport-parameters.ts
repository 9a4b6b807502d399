import type { Fingerprint } from './dtls/peer-certificate.ts';

/** What the two descriptions say about the one transport of a session (RFC 8839, RFC 8842). */

export interface RemoteTransportParameters {
  readonly usernameFragment: string;
  readonly password: string;
  readonly fingerprints: readonly Fingerprint[];
  /** Role the offer asks for; `actpass` leaves it to us. */
  readonly setup: 'actpass' | 'active' | 'passive';
  readonly iceLite: boolean;
}

export interface LocalTransportParameters {
  readonly usernameFragment: string;
  readonly password: string;
  readonly fingerprint: string;
  readonly setup: 'active' | 'passive';
  /** candidate-attribute values of RFC 8839 section 5.1, without `a=`. */
  readonly candidates: readonly string[];
  readonly gatheringComplete: boolean;
}
