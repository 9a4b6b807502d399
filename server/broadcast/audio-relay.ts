import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import { AudioDelay } from '../media/audio-delay.ts';
import type { MonotonicUs } from '../media/types.ts';
import type { Metrics } from '../metrics.ts';
import type { ForwardPacket } from '../rtc/peers.ts';
import type { BroadcastSettings } from './settings.ts';

export interface AudioRelayDependencies {
  readonly nowUs: () => MonotonicUs;
  readonly log: Log;
  readonly metrics: Pick<Metrics, 'error'>;
  readonly send: (packet: ForwardPacket) => void;
}

/** Errors are counted always and logged this often: audio has fifty packets a second. */
const ERROR_LOG_INTERVAL_US = 1_000_000;

/** Runs a broadcast's audio delay line with one timer. Its delay is fixed per broadcast and model; no rung of the ladder moves it. */
export class AudioRelay {
  readonly #line = new AudioDelay<ForwardPacket>();
  readonly #deps: AudioRelayDependencies;
  #setting: BroadcastSettings['audioDelayMs'];
  #modelDelayMs = 0;
  #timer: NodeJS.Timeout | undefined;
  #errorAtUs: MonotonicUs = -Infinity;

  constructor(setting: BroadcastSettings['audioDelayMs'], deps: AudioRelayDependencies) {
    this.#deps = deps;
    this.#setting = setting;
    this.#apply();
  }

  get delayMs(): number {
    return this.#line.delayMs;
  }

  /** `auto` is the model's presentation delay. */
  configure(setting: BroadcastSettings['audioDelayMs']): void {
    this.#setting = setting;
    this.#apply();
  }

  /** @param delayMs the model's presentation delay */
  setModelDelay(delayMs: number): void {
    this.#modelDelayMs = delayMs;
    this.#apply();
  }

  push(packet: ForwardPacket): void {
    this.#line.push(packet);
    this.#pump();
  }

  clear(): void {
    this.#line.clear();
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #apply(): void {
    this.#line.setDelay(this.#setting === 'auto' ? this.#modelDelayMs : this.#setting);
  }

  #pump(): void {
    const { nowUs, send } = this.#deps;
    for (const packet of this.#line.take(nowUs())) {
      try {
        send(packet);
      } catch (thrown) {
        // From the timer it would end the process, and with it every other broadcast.
        this.#onError(AppError.from(thrown));
      }
    }
    const nextAtUs = this.#line.nextDueAtUs;
    if (nextAtUs === undefined || this.#timer !== undefined) return;
    const waitMs = Math.max(1, Math.ceil((nextAtUs - nowUs()) / 1000));
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#pump();
    }, waitMs);
  }

  #onError({ code, message, stack }: AppError): void {
    const { nowUs, log, metrics } = this.#deps;
    metrics.error(code);
    const atUs = nowUs();
    if (atUs - this.#errorAtUs < ERROR_LOG_INTERVAL_US) return;
    this.#errorAtUs = atUs;
    log.error({ code, reason: message, stack }, 'audio.error');
  }
}
