/** Numbers of DTLS 1.2 (RFC 6347), TLS 1.2 (RFC 5246) and the extensions that WebRTC needs. */

export const VERSION_1_0 = 0xfeff;
export const VERSION_1_2 = 0xfefd;

export const ContentType = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23 } as const;

export const HandshakeType = {
  helloRequest: 0,
  clientHello: 1,
  serverHello: 2,
  helloVerifyRequest: 3,
  certificate: 11,
  serverKeyExchange: 12,
  certificateRequest: 13,
  serverHelloDone: 14,
  certificateVerify: 15,
  clientKeyExchange: 16,
  finished: 20,
} as const;

export const ExtensionType = {
  supportedGroups: 10,
  pointFormats: 11,
  signatureAlgorithms: 13,
  useSrtp: 14,
  extendedMasterSecret: 23,
  supportedVersions: 43,
  renegotiationInfo: 0xff01,
} as const;

/** Signals an empty renegotiation_info in the list of suites (RFC 5746 section 3.3). */
export const EMPTY_RENEGOTIATION_INFO_SCSV = 0x00ff;
export const NULL_COMPRESSION = 0;
export const UNCOMPRESSED_POINT = 0;
/** curve_type of ECParameters (RFC 8422 section 5.4). */
export const NAMED_CURVE = 3;
export const RANDOM_BYTES = 32;
export const VERIFY_DATA_BYTES = 12;

export const AlertLevel = { warning: 1, fatal: 2 } as const;

export const AlertDescription = {
  close_notify: 0,
  unexpected_message: 10,
  bad_record_mac: 20,
  record_overflow: 22,
  handshake_failure: 40,
  bad_certificate: 42,
  unsupported_certificate: 43,
  certificate_unknown: 46,
  illegal_parameter: 47,
  decode_error: 50,
  decrypt_error: 51,
  protocol_version: 70,
  insufficient_security: 71,
  internal_error: 80,
  no_renegotiation: 100,
  unsupported_extension: 110,
} as const;

export type AlertName = keyof typeof AlertDescription;

/** The field's own name of an alert, or its number. */
export function alertName(description: number): string {
  const known = Object.entries(AlertDescription).find(([, value]) => value === description);
  return known?.[0] ?? `alert ${description}`;
}
