import { isIP } from 'node:net';
import type { CheckedTarget, TargetPolicy } from '../access/target-policy.ts';
import { addressFor, type OutputOf } from '../config/config.ts';
import { AppError } from '../errors.ts';
import { rtmpTcUrl } from '../media/rtmp-url.ts';
import { MuxedOutput } from './muxed-output.ts';
import type { PushTarget } from './muxer/messages.ts';
import { MuxerProcess } from './muxer/muxer-process.ts';
import type { OutputKind, OutputRun, RunRequest } from './output-kind.ts';
import { trustedCertificates } from './trusted-certificates.ts';

export type StreamConfig = OutputOf<'rtmp'> | OutputOf<'srt'> | OutputOf<'rtsp'>;

/** Of the protocol, in microseconds; what hangs beyond it is ended from outside (muxer-process.ts). */
const WITHIN_US = String(10_000_000);

/** RTMP, SRT and RTSP by libav. Each run has a process of its own: one server that hangs holds up no other. */
export class StreamPushKind implements OutputKind<StreamConfig> {
  readonly #policy: TargetPolicy;

  constructor(policy: TargetPolicy) {
    this.#policy = policy;
  }

  /** @throws AppError config.invalid for what an address may not ask for */
  prepare({ name, type, url }: StreamConfig): void {
    const mode = type === 'srt' ? new URL(url).searchParams.get('mode') : null;
    if (mode !== null && mode !== 'caller') {
      throw new AppError('config.invalid', `The output "${name}" asks for mode=${mode}; SRT outputs are callers.`);
    }
  }

  open({ id, output: configured, broadcast, subscription, events }: RunRequest<StreamConfig>): OutputRun {
    const output = { ...configured, url: addressFor(configured.url, broadcast) };
    const { name, track } = output;
    const process = new MuxerProcess({ label: `the output "${name}"` });
    const target = this.#target(output);
    return new MuxedOutput({ id, kind: 'relay', track, codec: 'H264', process, target }, subscription, events);
  }

  async #target(output: StreamConfig): Promise<PushTarget> {
    const checked = await this.#policy.resolve(output.url, [new URL(output.url).protocol]);
    const { url } = checked;
    const common = { kind: 'push', url: addressOf(checked), label: `${url.protocol}//${url.host}` } as const;
    switch (output.type) {
      case 'rtmp':
        return { ...common, ...FLV, protocolOptions: await rtmpOptions(output, url) };
      case 'srt':
        return {
          ...{ ...common, url: srtAddress(checked), muxer: 'mpegts', codecs: ['H264'], audio: 'aac' },
          ...{ protocolOptions: {}, options: {}, lingerMs: srtLingerMs(url) },
        };
      case 'rtsp':
        return {
          ...{ ...common, muxer: 'rtsp', codecs: ['H264', 'VP8', 'VP9'], audio: 'opus', protocolOptions: {} },
          // Not UDP: libav would send to whatever address the server names, past the target policy.
          options: { rtsp_transport: 'tcp', timeout: WITHIN_US },
        };
    }
  }
}

const FLV = { muxer: 'flv', codecs: ['H264'], audio: 'aac', options: {} } as const;

/** The connection goes to the address that was checked; the server reads the name that the operator wrote. */
async function rtmpOptions({ caFile }: OutputOf<'rtmp'>, url: URL): Promise<Record<string, string>> {
  const options = { rtmp_tcurl: rtmpTcUrl(url), rw_timeout: WITHIN_US };
  if (url.protocol === 'rtmp:') return options;
  const verifyhost = url.hostname.replace(/^\[|\]$/g, '');
  return { ...options, tls_verify: '1', verifyhost, ca_file: caFile ?? (await trustedCertificates()) };
}

/** An SRT connection that is closed would forget what is still on its way; this long it waits for that. */
const SRT_LINGER_SECONDS = 2;

/** Waited for in any case: SRT's default is 120 ms, and a receiver may ask for more without our knowing. */
const SRT_LATENCY_MS = 500;
const MAX_SRT_LATENCY_MS = 1_500;

/** A receiver that hears of the end forgets what it holds back for its latency (draft-sharabayko-srt-01 section 4.5): the end waits. */
function srtLingerMs(url: URL): number {
  const asked = ['latency', 'peerlatency', 'rcvlatency'].map((name) => Number(url.searchParams.get(name)) / 1000);
  return Math.min(MAX_SRT_LATENCY_MS, Math.max(SRT_LATENCY_MS, ...asked.filter((ms) => ms > 0)));
}

/** libav takes SRT's options from the address. */
function srtAddress(target: CheckedTarget): string {
  const url = new URL(addressOf(target));
  if (!url.searchParams.has('linger')) url.searchParams.set('linger', String(SRT_LINGER_SECONDS));
  return url.href;
}

/** @returns the address with an IP in place of the name, so that nothing is looked up a second time */
function addressOf({ url, addresses: [address] }: CheckedTarget): string {
  const { protocol, username, password, port, pathname, search } = url;
  const user = username === '' ? '' : `${username}${password === '' ? '' : `:${password}`}@`;
  const host = isIP(address) === 6 ? `[${address}]` : address;
  return `${protocol}//${user}${host}${port === '' ? '' : `:${port}`}${pathname}${search}`;
}
