import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { until } from '../until.ts';

/** Other people's programs beside the server: what is there, where it listens, and that it ends with its test. */

/**
 * Whether the test of a program has to be left out because it is not here. Where `.ci/run` has installed it, FLASHVSR_REQUIRE_PROGRAMS
 * names it, and the test fails instead.
 * @param check a command that ends at once, with 0 where the program is there
 */
export function leftOut(name: string, [command, ...args]: readonly [string, ...string[]]): boolean {
  if (process.env['FLASHVSR_REQUIRE_PROGRAMS']?.split(' ').includes(name) === true) return false;
  const { error, status } = spawnSync(command, args, { stdio: 'ignore' });
  const missing = error !== undefined || status !== 0;
  if (missing) console.warn(`left out for want of ${name}`);
  return missing;
}

export interface ProgramOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly uid?: number;
}

/** A program that has been asked to end is given this long. */
const OBEYS_MS = 10_000;

/** A program at work. The caller ends it. */
export class Program {
  readonly exited: Promise<number | null>;
  readonly #child: ChildProcess;
  readonly #name: string;
  #log = '';
  #over = false;

  /** @param options `env` in addition to ours; `uid` for what refuses to run as root */
  constructor(name: string, args: readonly string[], options: ProgramOptions = {}) {
    const { env, uid } = options;
    this.#name = name;
    this.#child = spawn(name, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      ...(uid === undefined ? {} : { uid, gid: uid }),
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (data: Buffer) => (this.#log += data.toString()));
    }
    this.exited = new Promise((resolve) => {
      this.#child.once('error', (error) => (this.#log += error.message));
      this.#child.once('close', (code) => {
        this.#over = true;
        resolve(code);
      });
    });
  }

  /** All that it has written so far. */
  get log(): string {
    return this.#log;
  }

  /**
   * Waits for its end by itself. A program that hangs is ended, so that it holds up its test and no other.
   * @throws Error with its output when it is not over in time
   */
  async ended(withinMs = 60_000): Promise<number | null> {
    try {
      await until(() => this.#over, 'its end', withinMs);
    } catch {
      await this.end();
      throw new Error(`${this.#name} did not end within ${withinMs} ms: ${this.#log}`);
    }
    return await this.exited;
  }

  /** Waits for a state of it. @throws Error with its output when it has ended */
  until<T>(probe: () => T | Promise<T>, what: string): Promise<NonNullable<T>> {
    return until(
      () => {
        if (this.#over) throw new Error(`${this.#name} has ended: ${this.#log}`);
        return probe();
      },
      () => `${what}; ${this.#name} says: ${this.#log}`,
    );
  }

  /** Idempotent. What does not obey `signal` is killed; what it has started and left behind is not waited for. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    if (!this.#over) this.#child.kill(signal);
    const kill = setTimeout(() => {
      this.#child.kill('SIGKILL');
      this.#child.stdout?.destroy();
      this.#child.stderr?.destroy();
    }, OBEYS_MS);
    await this.exited;
    clearTimeout(kill);
  }
}

/** A port that is free for TCP and was a moment ago; programs that cannot be given port 0 need one. */
export async function freePort(): Promise<number> {
  const holder = createServer();
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve));
  const { port } = holder.address() as AddressInfo;
  await new Promise((resolve) => holder.close(resolve));
  return port;
}

/** Whether something accepts connections there. */
export function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}

/** Whether something is bound to the UDP port (proc(5), /proc/net/udp: addresses in hexadecimal). */
export function boundUdp(port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return readFileSync('/proc/net/udp', 'latin1').includes(`:${hex} `);
}
