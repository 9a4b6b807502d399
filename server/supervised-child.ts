import { spawn, type ChildProcess, type SendHandle, type SerializationType } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { BOOT } from './boot.ts';

/** What a process says before it dies is cut after this. */
const MAX_STDERR_CHARACTERS = 2000;

type Stdio = 'ignore' | 'inherit' | 'pipe';

export interface ChildOptions {
  /** The module that it runs, TypeScript or not. */
  readonly module: URL;
  /** Standard input, output and error, and what follows: pipes, or the channel of send() and onMessage(). */
  readonly stdio: readonly [Stdio, Stdio, Stdio, ...('pipe' | 'ipc')[]];
  /** Absent: the whole environment of this process. */
  readonly env?: NodeJS.ProcessEnv;
  /** Of the channel; `advanced` carries bytes as they are. */
  readonly serialization?: SerializationType;
  /** Each message of the channel. */
  readonly onMessage?: (message: unknown) => void;
}

export interface ChildEnd {
  /** In words: `exit code 3`, `SIGKILL`, `spawn node EMFILE`. */
  readonly how: string;
  /** Null after a signal, and when it has not started. */
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/**
 * A child process that can do no harm to this one: it may fail to start for want of descriptors or memory, hang, crash, or close
 * its channel while something is sent. Each of these is an end with a reason, once; no method throws.
 */
export class SupervisedChild {
  /** Resolves when it is gone, or could not start, and everything that it sent has been read. */
  readonly ended: Promise<ChildEnd>;
  readonly #child: ChildProcess;
  #over = false;
  #limit: NodeJS.Timeout | undefined;
  #stderr = '';

  constructor({ module, stdio, env, serialization, onMessage }: ChildOptions) {
    // Flags of this process (tsx's loader, vitest's) are not for the child: boot.mjs brings its own loader.
    this.#child = spawn(process.execPath, [fileURLToPath(BOOT), module.href], {
      stdio: [...stdio],
      ...(env !== undefined && { env }),
      ...(serialization !== undefined && { serialization }),
    });
    const child = this.#child;
    child.stdin?.on('error', () => undefined);
    for (const pipe of this.#stdio) pipe?.on('error', () => undefined);
    child.stderr?.on('data', (chunk: Buffer) => {
      const room = MAX_STDERR_CHARACTERS - this.#stderr.length;
      if (room > 0) this.#stderr += chunk.toString('utf8').slice(0, room);
    });
    if (onMessage !== undefined) child.on('message', (message: unknown) => onMessage(message));
    this.ended = this.#watch();
  }

  /** Undefined when it could not start. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** The channel is open in both directions. */
  get connected(): boolean {
    // Node leaves it undefined when the process could not start.
    return (this.#child.connected as boolean | undefined) === true;
  }

  /** What it has written to standard error, if that is a pipe: the first 2000 characters. */
  get stderr(): string {
    return this.#stderr;
  }

  /** One of its pipes; undefined when it could not start. */
  pipe(descriptor: number): Readable | Writable | undefined {
    return this.#stdio[descriptor] ?? undefined;
  }

  /** Over the channel; what comes too late is dropped. */
  send(message: unknown): void {
    if (this.connected) this.#child.send(message as SendHandle & object, () => undefined);
  }

  /** Closes the channel, by which it may leave. */
  disconnect(): void {
    if (this.connected) this.#child.disconnect();
  }

  /** SIGKILL ends it in any case; other signals it may handle. */
  kill(signal: NodeJS.Signals = 'SIGKILL'): void {
    this.#child.kill(signal);
  }

  /** Calls `onLate` in `ms`, unless it has ended or this is called again; undefined: no limit any more. */
  limit(ms: number | undefined, onLate: () => void = () => this.kill()): void {
    clearTimeout(this.#limit);
    this.#limit = ms === undefined || this.#over ? undefined : setTimeout(onLate, ms).unref();
  }

  get #stdio(): readonly (Readable | Writable | null | undefined)[] {
    // Node leaves it away when no descriptor was left for the process.
    return (this.#child as { readonly stdio?: ChildProcess['stdio'] }).stdio ?? [];
  }

  #watch(): Promise<ChildEnd> {
    return new Promise((resolve) => {
      const over = (end: ChildEnd): void => {
        this.#over = true;
        clearTimeout(this.#limit);
        resolve(end);
      };
      this.#child.on('error', ({ message }) => {
        // A process that runs ends by 'close'; other errors are signals and messages that came too late.
        if (this.pid === undefined) over({ how: message, code: null, signal: null });
      });
      // 'close', not 'exit': what is on its way arrives before it.
      this.#child.once('close', (code, signal) => over({ how: signal ?? `exit code ${code}`, code, signal }));
    });
  }
}
