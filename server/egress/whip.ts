import type { TargetPolicy } from '../access/target-policy.ts';
import type { Broadcast } from '../broadcast/broadcast.ts';
import { addressFor, type OutputOf } from '../config/config.ts';
import { AppError } from '../errors.ts';
import type { Log } from '../log.ts';
import type { TargetStack } from '../rtc/peers.ts';
import type { OutputKind, OutputRun, RunRequest } from './output-kind.ts';
import { WhipRelay, type WhipRelayLimits } from './whip-relay.ts';

export type WhipConfig = OutputOf<'whip'>;

export interface WhipKindOptions {
  readonly rtc: TargetStack;
  readonly policy: TargetPolicy;
  readonly registry: { get(name: string): Broadcast | undefined };
  readonly interfaceAddresses: readonly string[];
  readonly log: Pick<Log, 'info'>;
  readonly limits?: Partial<WhipRelayLimits>;
}

/** Push-out: a broadcast to another server's WHIP endpoint. */
export class WhipKind implements OutputKind<WhipConfig> {
  readonly #options: WhipKindOptions;

  constructor(options: WhipKindOptions) {
    this.#options = options;
  }

  open({ id, output, broadcast: name, subscription, events }: RunRequest<WhipConfig>): OutputRun {
    const broadcast = this.#options.registry.get(name);
    if (broadcast === undefined) throw new AppError('broadcast.notLive', `"${name}" is not live.`);
    const { bearer, track } = output;
    const url = addressFor(output.url, name);
    return new WhipRelay(
      { ...this.#options, id, name: output.name, url, bearer, track, broadcast },
      subscription,
      events,
    );
  }
}
