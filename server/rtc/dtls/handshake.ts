import type { Flight } from './flight.ts';
import type { HandshakeMessage } from './fragments.ts';
import type { OwnCertificate } from './own-certificate.ts';
import type { ExpectedDigests } from './peer-certificate.ts';
import type { RecordProtection } from './record-protection.ts';
import type { SrtpKeyingMaterial, SrtpProfileName } from './srtp-keys.ts';

/** What both handshakes know from the start. */
export interface HandshakeParameters {
  readonly certificate: OwnCertificate;
  readonly expected: ExpectedDigests;
  /** In our order of preference. */
  readonly srtpProfiles: readonly SrtpProfileName[];
  readonly counters: { asymmetricOperations: number };
}

/** What a message leads to. */
export interface Step {
  /** To be sent, and repeated until the peer's next message. */
  readonly flight?: Flight;
  /** For records of ours behind a ChangeCipherSpec. */
  readonly write?: RecordProtection;
  /** Both sides are authenticated. */
  readonly connected?: SrtpKeyingMaterial;
}

/**
 * The messages of one handshake in their order: pure, without records, timers or sockets. A message that does not belong
 * where it comes is refused; every check that fails throws a DtlsFailure.
 */
export interface Handshake {
  /** @returns undefined when the message is not the one that is due @throws DtlsFailure, MalformedBytes */
  receive(message: HandshakeMessage): Step | undefined;
  /** @returns what opens the records behind it; undefined while a ChangeCipherSpec is not due */
  changeCipherSpec(): RecordProtection | undefined;
}
