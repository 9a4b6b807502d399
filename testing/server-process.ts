import { spawn, type ChildProcess } from 'node:child_process';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { connect, type NetConnectOpts, type Socket } from 'node:net';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('../', import.meta.url));

export interface ServerExit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ServerProcessOptions {
  readonly args?: readonly string[];
  /** Of Node itself, for example --max-old-space-size=64. */
  readonly nodeArgs?: readonly string[];
  /** Soft limit of open files, as `ulimit -n` sets it. */
  readonly openFiles?: number;
  readonly scheme?: 'http' | 'https';
  /** False: resolves when the process has ended, too. */
  readonly mustStart?: boolean;
}

/** The server as its users run it, as a process: for tests of signals, exit codes, crashes and leaks. */
export class ServerProcess {
  readonly child: ChildProcess;
  readonly exited: Promise<ServerExit>;
  /** `http://127.0.0.1:PORT`, once it listens. */
  url = '';
  #log = '';
  #exit: ServerExit | undefined;

  private constructor({ args = [], nodeArgs = [], openFiles }: ServerProcessOptions) {
    const main = ['--import', 'tsx', 'server/main.ts', '--port', '0', '--model', 'resize', ...args];
    const node = [process.execPath, ...nodeArgs, ...main];
    const command =
      openFiles === undefined ? node : ['bash', '-c', `ulimit -n ${openFiles}; exec "$@"`, 'bash', ...node];
    this.child = spawn(command[0] ?? '', command.slice(1), { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] });
    this.child.stdout?.on('data', (data: Buffer) => (this.#log += data.toString()));
    this.child.stderr?.on('data', (data: Buffer) => (this.#log += data.toString()));
    this.exited = new Promise((resolve) => {
      this.child.on('exit', (code, signal) => (this.#exit = { code, signal }));
      // After 'exit', when all that it wrote has been read.
      this.child.on('close', (code, signal) => resolve({ code, signal }));
    });
  }

  static async start(options: ServerProcessOptions = {}): Promise<ServerProcess> {
    const server = new ServerProcess(options);
    const end = performance.now() + 40_000;
    for (;;) {
      const url = /https?:\/\/localhost:(\d+)/.exec(server.log);
      if (url !== null && server.log.includes('server.listening')) {
        server.url = `${options.scheme ?? 'http'}://127.0.0.1:${url[1] ?? ''}`;
        return server;
      }
      if (server.exit !== undefined && options.mustStart === false) return server;
      if (server.exit !== undefined || performance.now() > end) {
        await server.kill();
        throw new Error(`the server did not start: ${server.log}`);
      }
      await sleep(30);
    }
  }

  /** All that it has written so far, standard error included. */
  get log(): string {
    return this.#log;
  }

  get exit(): ServerExit | undefined {
    return this.#exit;
  }

  get port(): number {
    return Number(new URL(this.url).port);
  }

  /** What each open descriptor points to, for example `socket:[123]` or a path. */
  descriptors(): string[] {
    const folder = `/proc/${this.child.pid}/fd`;
    return readdirSync(folder).map((name) => {
      try {
        return readlinkSync(`${folder}/${name}`);
      } catch {
        return '';
      }
    });
  }

  residentMiB(): number {
    const status = readFileSync(`/proc/${this.child.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
  }

  /** Processor time of the thread that does signaling and RTP: what attacks on parsers and queues cost every broadcast. */
  mainThreadSeconds(): number {
    return processorSeconds(`/proc/${this.child.pid}/task/${this.child.pid}/stat`);
  }

  /** Processor time of all threads. */
  processorSeconds(): number {
    return processorSeconds(`/proc/${this.child.pid}/stat`);
  }

  /** GET over a new connection. */
  async get(path: string, timeoutMs = 10_000): Promise<Response> {
    return fetch(this.url + path, { headers: { connection: 'close' }, signal: AbortSignal.timeout(timeoutMs) });
  }

  /** A plain TCP connection; errors after connecting are the test's to look for. */
  socket(options: Partial<NetConnectOpts> = {}): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const socket = connect({ port: this.port, host: '127.0.0.1', ...options }, () => resolve(socket));
      socket.on('error', reject);
    });
  }

  /** @returns how it ended, or undefined when it still runs after `mostMs` */
  async endWithin(mostMs: number): Promise<ServerExit | undefined> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => (timer = setTimeout(() => resolve(undefined), mostMs)));
    const exit = await Promise.race([this.exited, late]);
    clearTimeout(timer);
    return exit;
  }

  signal(signal: NodeJS.Signals): void {
    this.child.kill(signal);
  }

  /** For afterEach: ends it in any case. */
  async kill(): Promise<void> {
    if (this.#exit === undefined) this.child.kill('SIGKILL');
    await this.exited;
  }
}

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** utime and stime of proc(5), in ticks of 10 ms. */
function processorSeconds(path: string): number {
  const fields = readFileSync(path, 'utf8').split(') ')[1]?.split(' ') ?? [];
  return (Number(fields[11]) + Number(fields[12])) / 100;
}
