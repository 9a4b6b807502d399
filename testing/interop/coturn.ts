import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { selfSignedCertificate } from '../certificate.ts';
import { Program, freePort, listens } from './program.ts';

/** coturn on loopback with use-auth-secret, which takes clients by TCP and TLS and by nothing else. */
export class Coturn {
  readonly port: number;
  readonly tlsPort: number;
  readonly #folder: string;
  readonly #program: Program;

  private constructor(folder: string, program: Program, port: number, tlsPort: number) {
    this.#folder = folder;
    this.#program = program;
    this.port = port;
    this.tlsPort = tlsPort;
  }

  static async start(secret: string): Promise<Coturn> {
    const folder = mkdtempSync(join(tmpdir(), 'coturn-'));
    const file = (name: string): string => join(folder, name);
    const { cert, key } = selfSignedCertificate();
    writeFileSync(file('cert.pem'), cert);
    writeFileSync(file('key.pem'), key);
    const [port, tlsPort] = [await freePort(), await freePort()];
    const program = new Program('turnserver', [
      ...['-n', '--use-auth-secret', `--static-auth-secret=${secret}`, '--realm=example.org', '--no-cli'],
      ...['--no-udp', '--no-dtls', '--listening-ip=127.0.0.1', '--relay-ip=127.0.0.1', '--allow-loopback-peers'],
      ...[`--listening-port=${port}`, `--tls-listening-port=${tlsPort}`],
      ...[`--cert=${file('cert.pem')}`, `--pkey=${file('key.pem')}`],
      ...['--log-file=stdout', `--pidfile=${file('pid')}`, `--userdb=${file('users')}`],
    ]);
    await program.until(async () => (await listens(port)) && (await listens(tlsPort)), 'its ports');
    return new Coturn(folder, program, port, tlsPort);
  }

  async close(): Promise<void> {
    await this.#program.end('SIGTERM');
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
