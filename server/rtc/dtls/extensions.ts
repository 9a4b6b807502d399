import { ByteReader, uint16, uint16List, uint8, vector } from './bytes.ts';
import { MalformedBytes } from './failure.ts';
import { ExtensionType, UNCOMPRESSED_POINT } from './protocol.ts';

/** The extensions of a hello message that this engine knows; others are skipped. */
export interface Extensions {
  readonly supportedGroups?: readonly number[];
  readonly pointFormats?: readonly number[];
  readonly signatureAlgorithms?: readonly number[];
  readonly useSrtp?: { readonly profiles: readonly number[]; readonly mki: Buffer };
  readonly extendedMasterSecret?: true;
  /** Of a ClientHello. */
  readonly supportedVersions?: readonly number[];
  /** renegotiated_connection; empty in every first handshake. */
  readonly renegotiationInfo?: Buffer;
}

type Mutable<T> = { -readonly [Key in keyof T]: T[Key] };

/**
 * @param reader the rest of a hello message; nothing left means no extensions
 * @returns what is known, and the type of every extension there
 * @throws MalformedBytes also for an extension that comes twice
 */
export function readExtensions(reader: ByteReader): {
  readonly known: Extensions;
  readonly types: ReadonlySet<number>;
} {
  const known: Mutable<Extensions> = {};
  const types = new Set<number>();
  if (reader.remaining === 0) return { known, types };
  const list = new ByteReader(reader.vector(2));
  reader.end();
  while (list.remaining > 0) {
    const type = list.uint16();
    const body = new ByteReader(list.vector(2));
    if (types.has(type)) throw new MalformedBytes(`extension ${type} comes twice`);
    types.add(type);
    if (readExtension(type, body, known)) body.end();
  }
  return { known, types };
}

/** @returns false for a type that is not known, whose body is not read */
function readExtension(type: number, body: ByteReader, known: Mutable<Extensions>): boolean {
  switch (type) {
    case ExtensionType.supportedGroups:
      known.supportedGroups = uint16List(body.vector(2, { min: 2 }));
      return true;
    case ExtensionType.pointFormats:
      known.pointFormats = [...body.vector(1, { min: 1 })];
      return true;
    case ExtensionType.signatureAlgorithms:
      known.signatureAlgorithms = uint16List(body.vector(2, { min: 2 }));
      return true;
    case ExtensionType.useSrtp:
      known.useSrtp = { profiles: uint16List(body.vector(2, { min: 2 })), mki: body.vector(1) };
      return true;
    case ExtensionType.extendedMasterSecret:
      known.extendedMasterSecret = true;
      return true;
    case ExtensionType.supportedVersions:
      known.supportedVersions = uint16List(body.vector(1, { min: 2 }));
      return true;
    case ExtensionType.renegotiationInfo:
      known.renegotiationInfo = body.vector(1);
      return true;
    default:
      return false;
  }
}

const extension = (type: number, ...body: readonly Buffer[]): Buffer =>
  Buffer.concat([uint16(type), vector(2, ...body)]);

export function writeExtensions(extensions: Extensions): Buffer {
  const parts: Buffer[] = [];
  const { supportedGroups, pointFormats, signatureAlgorithms, useSrtp } = extensions;
  if (extensions.renegotiationInfo !== undefined) {
    parts.push(extension(ExtensionType.renegotiationInfo, vector(1, extensions.renegotiationInfo)));
  }
  if (extensions.extendedMasterSecret === true) parts.push(extension(ExtensionType.extendedMasterSecret));
  if (supportedGroups !== undefined) {
    parts.push(extension(ExtensionType.supportedGroups, vector(2, ...supportedGroups.map(uint16))));
  }
  if (pointFormats !== undefined) {
    parts.push(extension(ExtensionType.pointFormats, vector(1, ...pointFormats.map(uint8))));
  }
  if (signatureAlgorithms !== undefined) {
    parts.push(extension(ExtensionType.signatureAlgorithms, vector(2, ...signatureAlgorithms.map(uint16))));
  }
  if (useSrtp !== undefined) {
    const profiles = vector(2, ...useSrtp.profiles.map(uint16));
    parts.push(extension(ExtensionType.useSrtp, profiles, vector(1, useSrtp.mki)));
  }
  return vector(2, ...parts);
}

export const UNCOMPRESSED_ONLY: readonly number[] = [UNCOMPRESSED_POINT];
