import { ByteReader, uint16, uint16List, uint24, uint8, vector } from './bytes.ts';
import { MalformedBytes } from './failure.ts';
import { MAX_CERTIFICATES } from './limits.ts';
import { NAMED_CURVE } from './protocol.ts';

/** Certificates, key exchange and signatures (RFC 5246 section 7.4, RFC 8422 section 5). */

/** @returns the certificates in their order, DER; empty when the peer has none */
export function readCertificates(body: Buffer): Buffer[] {
  const reader = new ByteReader(body);
  const list = new ByteReader(reader.vector(3));
  reader.end();
  const certificates: Buffer[] = [];
  while (list.remaining > 0) {
    if (certificates.length === MAX_CERTIFICATES)
      throw new MalformedBytes(`more than ${MAX_CERTIFICATES} certificates`);
    certificates.push(list.vector(3, { min: 1 }));
  }
  return certificates;
}

export function writeCertificates(certificates: readonly Buffer[]): Buffer {
  return vector(3, ...certificates.map((der) => Buffer.concat([uint24(der.length), der])));
}

export interface ServerKeyExchange {
  readonly curveType: number;
  readonly group: number;
  readonly publicKey: Buffer;
  /** The signed parameters as they stand. */
  readonly parameters: Buffer;
  readonly scheme: number;
  readonly signature: Buffer;
}

export function readServerKeyExchange(body: Buffer): ServerKeyExchange {
  const reader = new ByteReader(body);
  const curveType = reader.uint8();
  const group = reader.uint16();
  const publicKey = reader.vector(1, { min: 1 });
  const parameters = body.subarray(0, body.length - reader.remaining);
  const { scheme, signature } = readSignature(reader);
  return { curveType, group, publicKey, parameters, scheme, signature };
}

/** ServerECDHParams: what is signed. */
export function writeKeyParameters(group: number, publicKey: Buffer): Buffer {
  return Buffer.concat([uint8(NAMED_CURVE), uint16(group), vector(1, publicKey)]);
}

export function writeServerKeyExchange(parameters: Buffer, scheme: number, signature: Buffer): Buffer {
  return Buffer.concat([parameters, uint16(scheme), vector(2, signature)]);
}

export interface CertificateRequest {
  readonly types: readonly number[];
  readonly schemes: readonly number[];
}

export function readCertificateRequest(body: Buffer): CertificateRequest {
  const reader = new ByteReader(body);
  const types = [...reader.vector(1, { min: 1 })];
  const schemes = uint16List(reader.vector(2, { min: 2 }));
  reader.vector(2); // names of authorities: fingerprints decide here
  reader.end();
  return { types, schemes };
}

export function writeCertificateRequest({ types, schemes }: CertificateRequest): Buffer {
  return Buffer.concat([vector(1, ...types.map(uint8)), vector(2, ...schemes.map(uint16)), vector(2)]);
}

export function readClientKeyExchange(body: Buffer): Buffer {
  const reader = new ByteReader(body);
  const publicKey = reader.vector(1, { min: 1 });
  reader.end();
  return publicKey;
}

export function writeClientKeyExchange(publicKey: Buffer): Buffer {
  return vector(1, publicKey);
}

export interface SignedDigest {
  readonly scheme: number;
  readonly signature: Buffer;
}

export function readCertificateVerify(body: Buffer): SignedDigest {
  return readSignature(new ByteReader(body));
}

export function writeCertificateVerify({ scheme, signature }: SignedDigest): Buffer {
  return Buffer.concat([uint16(scheme), vector(2, signature)]);
}

function readSignature(reader: ByteReader): SignedDigest {
  const scheme = reader.uint16();
  const signature = reader.vector(2, { min: 1 });
  reader.end();
  return { scheme, signature };
}
