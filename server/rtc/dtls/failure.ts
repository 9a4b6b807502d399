import { AppError } from '../../errors.ts';
import type { AlertName } from './protocol.ts';

/** Why a handshake or a session ended; stable names for logs, metrics and tests. */
export type DtlsReason =
  | 'protocolVersion'
  | 'noCommonSuite'
  | 'noCommonGroup'
  | 'noCommonSignature'
  | 'noCommonSrtpProfile'
  | 'noExtendedMasterSecret'
  | 'renegotiation'
  | 'certificateMissing'
  | 'certificateUnusable'
  | 'fingerprintMismatch'
  | 'badCertificateVerify'
  | 'badServerKeyExchange'
  | 'badKeyShare'
  | 'badFinished'
  | 'illegalParameter'
  | 'malformed'
  | 'timeout'
  | 'peerAlert'
  | 'internal';

/** Ends the session: thrown inside the engine, sent as an alert, reported as an AppError. */
export class DtlsFailure extends Error {
  readonly alert: AlertName;
  readonly reason: DtlsReason;

  constructor(alert: AlertName, reason: DtlsReason, message: string) {
    super(message);
    this.alert = alert;
    this.reason = reason;
  }
}

/** Bytes that are not what they claim to be. Drops the record or message they came in; never ends the session alone. */
export class MalformedBytes extends Error {}

const REMEDIES: Partial<Record<DtlsReason, string>> = {
  fingerprintMismatch:
    'Check that offer and answer reached both sides unchanged; if they did, the path between the two sides is not trustworthy.',
  badCertificateVerify: 'The peer does not hold the key of its certificate: do not trust the path to it.',
  badServerKeyExchange: 'The peer does not hold the key of its certificate: do not trust the path to it.',
  badFinished: 'The handshake was changed on its way: do not trust the path to the peer.',
  timeout: 'Check that UDP between the two sides is open for more than the connectivity checks, then connect again.',
};

export function toAppError(failure: DtlsFailure): AppError {
  const { reason, alert, message } = failure;
  const remedy = REMEDIES[reason];
  return new AppError('peer.handshake', message, {
    context: { reason, alert },
    cause: failure,
    ...(remedy === undefined ? {} : { remedy }),
  });
}

/** What is no failure of the protocol is a defect of ours. */
export function asFailure(error: unknown): DtlsFailure {
  if (error instanceof DtlsFailure) return error;
  const message = error instanceof Error ? error.message : String(error);
  return new DtlsFailure('internal_error', 'internal', `The DTLS handshake failed inside this server: ${message}.`);
}
