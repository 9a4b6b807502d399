import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  CipherContext,
  DtlsClient,
  DtlsServer,
  HashAlgorithm,
  NamedCurveAlgorithm,
  ProtectionProfileAeadAes128Gcm,
  ProtectionProfileAes128CmHmacSha1_80,
  SignatureAlgorithm,
} from 'werift';
import { createHash, X509Certificate } from 'node:crypto';
import { CERTIFICATES, End } from '../../../../testing/dtls-pair.ts';

/** werift's DTLS as a peer: it connects, and what it forges is refused. It checks nothing itself. */

type Transport = ConstructorParameters<typeof DtlsServer>[0]['transport'];
type Keys = Awaited<ReturnType<typeof CipherContext.createSelfSignedCertificateWithKey>>;

const createKeys = (): Promise<Keys> =>
  CipherContext.createSelfSignedCertificateWithKey(
    { signature: SignatureAlgorithm.ecdsa_3, hash: HashAlgorithm.sha256_4 },
    NamedCurveAlgorithm.secp256r1_23,
  );
const A = await createKeys();
const B = await createKeys();

function connect(role: 'client' | 'server', certPem: string, keyPem: string) {
  const { raw } = new X509Certificate(certPem);
  const end = new End({
    role: role === 'client' ? 'server' : 'client',
    certificate: CERTIFICATES.server,
    remoteFingerprints: [{ algorithm: 'sha-256', value: createHash('sha256').update(raw).digest('hex') }],
    srtpProfiles: ['AEAD_AES_128_GCM'],
  });
  const transport = {
    type: 'memory',
    address: {},
    closed: false,
    onData: (_data: Buffer): void => undefined,
    send: async (data: Buffer): Promise<void> => void setImmediate(() => end.session.receive(Buffer.from(data))),
    close: async (): Promise<void> => undefined,
  };
  end.deliver = (datagram) => setImmediate(() => transport.onData(datagram));
  const options = {
    cert: certPem,
    key: keyPem,
    signatureHash: A.signatureHash,
    transport: transport as unknown as Transport,
    srtpProfiles: [ProtectionProfileAeadAes128Gcm, ProtectionProfileAes128CmHmacSha1_80] as never,
    extendedMasterSecret: true,
  };
  const peer = role === 'client' ? new DtlsClient(options) : new DtlsServer({ ...options, certificateRequest: true });
  peer.onError.subscribe(() => undefined);
  end.session.start();
  if (peer instanceof DtlsClient) peer.connect().catch(() => undefined);
  return { end, peer };
}

describe.each(['client', 'server'] as const)('werift as %s', (role) => {
  afterEach(() => vi.restoreAllMocks());

  it('connects, with the same keys', async () => {
    const { end, peer } = connect(role, A.certPem, A.keyPem);
    await expect.poll(() => end.events).toEqual(['connected']);
    await expect.poll(() => peer.connected).toBe(true);
    const keys = peer.extractSessionKeys(16, 12);
    expect(end.keys?.remote).toEqual({ masterKey: keys.localKey, masterSalt: keys.localSalt });
    expect(end.keys?.local).toEqual({ masterKey: keys.remoteKey, masterSalt: keys.remoteSalt });
    end.session.close();
  });

  it('with another peer’s certificate is refused', async () => {
    const { end } = connect(role, A.certPem, B.keyPem);
    await expect.poll(() => end.events).toEqual(['failed']);
    expect(end.reason).toBe(role === 'client' ? 'badCertificateVerify' : 'badServerKeyExchange');
  });

  it('with a Finished of 42 42 42... is refused', async () => {
    vi.spyOn(CipherContext.prototype, 'verifyData').mockImplementation(() => Buffer.alloc(12, 0x42));
    const { end } = connect(role, A.certPem, A.keyPem);
    await expect.poll(() => end.events).toEqual(['failed']);
    expect(end.reason).toBe('badFinished');
  });

  it('with a signature of 42 42 42... is refused', async () => {
    const name = role === 'client' ? 'signatureData' : 'generateKeySignature';
    vi.spyOn(CipherContext.prototype, name).mockImplementation(() => Buffer.alloc(70, 0x42));
    const { end } = connect(role, A.certPem, A.keyPem);
    await expect.poll(() => end.events).toEqual(['failed']);
    expect(end.reason).toBe(role === 'client' ? 'badCertificateVerify' : 'badServerKeyExchange');
  });
});
