import { packetizeH264 } from '../../server/media/h264.ts';
import { packetizeVp8 } from '../../server/media/vp8.ts';
import type { Clip } from '../clip.ts';
import { buildBye } from '../rtcp.ts';
import { sleep } from '../server-process.ts';
import { absurdStreams, annexB, paddedPictureParameterSet, TINY_IDR } from './h264.ts';
import type { HostilePublisher } from './media-peer.ts';

/** What one authenticated publisher can send to hurt the server's other broadcasts: much work for few packets. */
export interface PublisherAttack {
  readonly name: string;
  readonly codec: 'H264' | 'VP8';
  /** How often `step` is called, by default. */
  readonly perSecond: number;
  /** Sent once, before. */
  prepare?(publisher: HostilePublisher): Promise<void>;
  step(publisher: HostilePublisher, index: number): Promise<void>;
}

const MAX_PAYLOAD_BYTES = 1150;
/** A slice that begins no picture. */
const TINY_SLICE = Buffer.of(0x41, 0xff, 1);
const PARAMETER_SET_BYTES = 200 * 1024;

/** Sends access units with sequence numbers it chooses. */
class Units {
  #index = 1000;

  async send(publisher: HostilePublisher, payloads: readonly Buffer[], timestamp: number): Promise<void> {
    for (const [at, payload] of payloads.entries()) {
      await publisher.send(payload, { index: this.#index, timestamp, marker: at === payloads.length - 1 });
      this.#index += 1;
    }
  }
}

/** Packets whose numbers the attack chooses; every one ends a unit. */
function numbered(
  name: string,
  numbersOf: (index: number) => { readonly sequence: number; readonly transportSequence?: number },
): PublisherAttack {
  return {
    name,
    codec: 'H264',
    perSecond: 2500,
    step: (publisher, index) => {
      const { sequence, transportSequence } = numbersOf(index);
      const packet = { index: sequence, timestamp: index * 90, marker: true };
      return publisher.send(TINY_SLICE, transportSequence === undefined ? packet : { ...packet, transportSequence });
    },
  };
}

/** The same packets in order: what the number of packets alone costs. */
export const CONTROL = numbered('control: the same packets in order', (index) => ({
  sequence: 1000 + index,
  transportSequence: index,
}));

const jumps = (index: number) => 1000 + Math.floor(index / 2) * 14_000 + (index % 2) * 9000;

/** One unit a frame time, made by `unitOf`; none sends nothing at that time. */
export function stream(
  name: string,
  codec: 'H264' | 'VP8',
  unitOf: (index: number) => Buffer | undefined,
  timestampOf: (index: number) => number = (index) => index * 3000,
): PublisherAttack {
  const units = new Units();
  return {
    name,
    codec,
    perSecond: 30,
    step: (publisher, index) => {
      const unit = unitOf(index);
      if (unit === undefined) return Promise.resolve();
      const payloads =
        codec === 'H264'
          ? packetizeH264(unit, MAX_PAYLOAD_BYTES)
          : packetizeVp8(unit, index & 0x7fff, MAX_PAYLOAD_BYTES);
      return units.send(publisher, payloads, timestampOf(index) >>> 0);
    },
  };
}

/** @param sets 250 are 51 MB, which take a while to send */
export function parameterSetFlood(sets = 250): PublisherAttack {
  const units = new Units();
  return {
    name: `${sets} PPS of 200 kB once, then 30 IDR of 4 bytes a second`,
    codec: 'H264',
    perSecond: 30,
    async prepare(publisher) {
      for (let id = 0; id < sets; id += 1) {
        const pps = annexB([paddedPictureParameterSet(id, PARAMETER_SET_BYTES)]);
        await units.send(publisher, packetizeH264(pps, MAX_PAYLOAD_BYTES), id * 3000);
        await sleep(5);
      }
    },
    step: (publisher, index) => units.send(publisher, [TINY_IDR], (sets + index) * 3000),
  };
}

/** An honest stream with something beside it. */
function beside(
  name: string,
  clip: Clip,
  extra: (publisher: HostilePublisher, index: number, sent: readonly Buffer[]) => Promise<void>,
): PublisherAttack {
  let sequence = 1000;
  return {
    name,
    codec: 'H264',
    perSecond: 30,
    async step(publisher, index) {
      const payloads = packetizeH264(clip.frames[index % clip.frames.length]?.data ?? TINY_IDR, MAX_PAYLOAD_BYTES);
      const sent: Buffer[] = [];
      for (const [at, payload] of payloads.entries()) {
        const marker = at === payloads.length - 1;
        const packet = publisher.protect(payload, { index: sequence, timestamp: index * 3000, marker });
        sequence += 1;
        sent.push(packet);
        await publisher.sendProtected(packet);
      }
      await extra(publisher, index, sent);
    },
  };
}

function lyingSenderReport(ssrc: number, random: () => number): Buffer {
  const report = Buffer.alloc(28);
  report[0] = 0x80;
  report[1] = 200;
  report.writeUInt16BE(6, 2);
  report.writeUInt32BE(ssrc, 4);
  report.writeUInt32BE(Math.floor(random() * 2 ** 32), 8);
  report.writeUInt32BE(Math.floor(random() * 2 ** 32), 16);
  return report;
}

/** Fresh attacks: they count their packets themselves. @param clip H264, what the honest part of some of them sends */
export function publisherAttacks(clip: Clip): readonly PublisherAttack[] {
  let noise = 0;
  const odd = (key: string) => absurdStreams()[key] ?? TINY_IDR;
  const frame = (index: number) => clip.frames[index % clip.frames.length]?.data ?? TINY_IDR;
  return [
    numbered('sequence jumps of 5000 and 9000', (index) => ({ sequence: jumps(index) })),
    numbered('sequence gaps of 2900', (index) => ({ sequence: 1000 + index * 2900 })),
    numbered('sequence gaps of 499', (index) => ({ sequence: 1000 + index * 499 })),
    numbered('transport-cc jumps of 8000', (index) => ({ sequence: 1000 + index, transportSequence: index * 8000 })),
    numbered('transport-cc gaps of 401', (index) => ({ sequence: 1000 + index, transportSequence: index * 401 })),
    numbered('both kinds of jumps', (index) => ({ sequence: jumps(index), transportSequence: index * 8000 })),
    parameterSetFlood(),
    ...Object.keys(absurdStreams()).map((key) => stream(`H264 ${key}`, 'H264', () => odd(key))),
    stream('timestamps that stand still', 'H264', frame, () => 1234),
    stream('timestamps that run backwards', 'H264', frame, (index) => 0x7fffffff - index * 3000),
    stream('VP8 of 16x16383', 'VP8', () => Buffer.of(0x10, 2, 0, 0x9d, 1, 0x2a, 16, 0, 0xff, 0x3f, 0, 0, 0, 0)),
    beside('1000 packets/s of new SSRCs', clip, async (publisher) => {
      for (let packet = 0; packet < 33; packet += 1) {
        noise += 1;
        await publisher.send(TINY_IDR, { index: 5 + packet, timestamp: 1, marker: true, ssrc: noise });
      }
    }),
    beside('every packet twenty times', clip, async (publisher, _, sent) => {
      for (const packet of sent) for (let copy = 0; copy < 20; copy += 1) await publisher.sendProtected(packet);
    }),
    beside('BYE ten times a second', clip, async (publisher, index) => {
      if (index % 3 === 0) await publisher.sendRtcp(buildBye([publisher.ssrc]));
    }),
    beside('sender reports with random clocks', clip, async (publisher, index) => {
      if (index % 3 === 0) await publisher.sendRtcp(lyingSenderReport(publisher.ssrc, Math.random));
    }),
  ];
}

/** Runs an attack at its rate for a time. */
export async function runAttack(
  attack: PublisherAttack,
  publisher: HostilePublisher,
  seconds: number,
): Promise<{ readonly steps: number; readonly perSecond: number }> {
  await attack.prepare?.(publisher);
  const startedMs = performance.now();
  let steps = 0;
  for (;;) {
    const elapsedSeconds = (performance.now() - startedMs) / 1000;
    if (elapsedSeconds >= seconds) return { steps, perSecond: steps / elapsedSeconds };
    const due = Math.floor(elapsedSeconds * attack.perSecond);
    for (let burst = 0; steps < due && burst < 200; burst += 1, steps += 1) await attack.step(publisher, steps);
    await sleep(2);
  }
}

/** Makes so many steps at no more than the attack's rate, however long a busy machine takes for them. */
export async function makeSteps(attack: PublisherAttack, publisher: HostilePublisher, count: number): Promise<void> {
  await attack.prepare?.(publisher);
  const startedMs = performance.now();
  for (let step = 0; step < count; step += 1) {
    await attack.step(publisher, step);
    const aheadMs = (step / attack.perSecond) * 1000 - (performance.now() - startedMs);
    if (aheadMs > 2) await sleep(aheadMs);
  }
}
