import { AppError } from '../errors.ts';
import type { Fingerprint } from './dtls/peer-certificate.ts';
import type { IceCandidate, IceParameters } from './peers.ts';

/** What the two descriptions say about the one transport of a session (RFC 8839, RFC 8842). */

export interface RemoteTransportParameters {
  readonly usernameFragment: string;
  readonly password: string;
  readonly fingerprints: readonly Fingerprint[];
  /** Role the peer takes; `actpass` leaves it to us. */
  readonly setup: 'actpass' | 'active' | 'passive';
  readonly iceLite: boolean;
}

export interface LocalTransportParameters {
  readonly usernameFragment: string;
  readonly password: string;
  readonly fingerprint: string;
  /** `actpass` in our offer. */
  readonly setup: 'actpass' | 'active' | 'passive';
  /** candidate-attribute values of RFC 8839 section 5.1, without `a=`. */
  readonly candidates: readonly string[];
  readonly gatheringComplete: boolean;
}

/** RFC 8839 section 5.4: ufrag 4 to 256, password 22 to 256 characters of ice-char. @throws AppError sdp.invalid */
export function checkIceCredentials(usernameFragment: string, password: string): void {
  if (/^[\w+/-]{4,256}$/.test(usernameFragment) && /^[\w+/-]{22,256}$/.test(password)) return;
  throw new AppError('sdp.invalid', 'a=ice-ufrag or a=ice-pwd is too short or has characters that ICE does not allow.');
}

interface IceRestartable {
  update(remote: RemoteTransportParameters): Promise<LocalTransportParameters>;
  addCandidate(candidate: IceCandidate): void;
}

/** ICE restart by a fragment (RFC 8840 section 4): credentials and candidates change, certificate and tracks stay. @throws AppError sdp.invalid */
export async function restartIce(
  transport: IceRestartable,
  before: RemoteTransportParameters,
  { usernameFragment, password, candidates }: IceParameters,
): Promise<{ readonly remote: RemoteTransportParameters; readonly local: LocalTransportParameters }> {
  checkIceCredentials(usernameFragment, password);
  const remote = { ...before, usernameFragment, password };
  const local = await transport.update(remote);
  for (const candidate of candidates) transport.addCandidate({ candidate });
  return { remote, local };
}
