import { FrameAssembler } from '../../server/media/assembler.ts';
import { Av1Depacketizer, parseAv1Payload } from '../../server/media/av1.ts';
import { OBU, leb128, parseSequenceHeader } from '../../server/media/av1-obu.ts';
import { MAX_UNIT_BYTES, type Depacketizer } from '../../server/media/depacketizer.ts';
import { H264Depacketizer, packetizeH264 } from '../../server/media/h264.ts';
import { JitterBuffer, MAX_MISSING } from '../../server/media/jitter-buffer.ts';
import { startsPicture } from '../../server/media/picture-start.ts';
import {
  buildNack,
  buildPictureLoss,
  buildReceiverReport,
  buildSenderReport,
  buildSourceDescription,
  parseRtcp,
} from '../../server/media/rtcp.ts';
import { RtpClock } from '../../server/media/rtp-clock.ts';
import { buildRtpHeader, findExtension, parseRtp, type RtpPacket } from '../../server/media/rtp.ts';
import { Unwrapper } from '../../server/media/sequence.ts';
import { TransportFeedbackBuilder } from '../../server/media/transport-cc.ts';
import type { SourceCodec } from '../../server/media/types.ts';
import { Vp8Depacketizer, packetizeVp8, parseVp8Descriptor } from '../../server/media/vp8.ts';
import { Vp9Depacketizer, parseVp9Descriptor } from '../../server/media/vp9.ts';
import { packetizeAv1 } from '../av1-packets.ts';
import { buildBye, buildRemb, parseTransportFeedback } from '../rtcp.ts';
import { check, type FuzzTarget } from './fuzz.ts';
import type { Random } from './random.ts';

/** Sequence numbers as a hostile sender counts: mostly on, sometimes anywhere. */
function nextNumber(random: Random, before: number, range: number): number {
  const step = random.pick([0, 1, 1, 1, 1, 2, 100, 401, 2900, 8000, 20_000, -1, -5, -3000]);
  return (((random.oneIn(200) ? random.int(range) : before + step) % range) + range) % range;
}

const packetOf = (random: Random, payload: Buffer, sequenceNumber: number): Buffer =>
  Buffer.concat([
    buildRtpHeader(
      { marker: random.oneIn(3), payloadType: 96, sequenceNumber, timestamp: random.int(2 ** 32), ssrc: 1 },
      random.oneIn(2) ? [] : [{ id: 3, value: random.bytes(1 + random.int(16)) }],
    ),
    payload,
  ]);

const RTP: FuzzTarget = {
  name: 'rtp',
  about: 'mutated RTP packets: parsed within their bytes or refused',
  open: () => (random) => {
    const packet = random.mutate(packetOf(random, random.bytes(random.int(60)), random.int(65_536)));
    const parsed = parseRtp(packet);
    if (parsed === undefined) return;
    check(parsed.payload.length <= packet.length - 12, 'the payload is longer than the packet');
    for (const id of [1, 3, 14, random.int(256)]) {
      const value = findExtension(parsed, id);
      check(value === undefined || value.length <= packet.length, 'an extension is longer than the packet');
    }
  },
};

const RTCP: FuzzTarget = {
  name: 'rtcp',
  about: 'mutated compound packets: at most 32 messages with at most 4352 numbers each',
  open: () => (random) => {
    const block = {
      ssrc: 1,
      fractionLost: 0.1,
      packetsLost: 5,
      highestSequence: 70_000,
      jitter: 3,
      lastReport: 4,
      delaySinceReport: 5,
    };
    const parts = [
      buildSenderReport({ ssrc: 1, ntpUs: random.int(2 ** 32) * 1e6, rtpTimestamp: 1, packetCount: 2, octetCount: 3 }),
      buildReceiverReport(2, [block, block]),
      buildSourceDescription(1, 'name'),
      buildNack(1, 2, [1, 2, 3, 40]),
      buildPictureLoss(1, 2),
      buildRemb(1, 1 + random.int(2 ** 31), [1, 2]),
      buildBye([1, 2]),
    ];
    const compound = Buffer.concat(Array.from({ length: 1 + random.int(50) }, () => random.pick(parts)));
    const messages = parseRtcp(random.mutate(compound));
    check(messages.length <= 32, `${messages.length} messages`);
    for (const message of messages) {
      if (message.kind === 'nack') check(message.sequenceNumbers.length <= 4352, 'too many sequence numbers');
      if (message.kind === 'remb') check(Number.isFinite(message.bitrateBps), 'a bit rate without end');
    }
  },
};

/** Packets of valid frames, mutated, dropped and repeated, through one depacketizer for the whole run. */
function depacketizerTarget(
  name: string,
  create: () => Depacketizer,
  payloadsOf: (random: Random) => readonly Buffer[],
  descriptor: (payload: Buffer) => void,
): FuzzTarget {
  return {
    name,
    about: `mutated ${name.toUpperCase()} payloads: units of at most 4 MiB or none`,
    open() {
      const depacketizer = create();
      return (random) => {
        let bytes = 0;
        for (const valid of payloadsOf(random)) {
          if (random.oneIn(8)) continue;
          const payload = random.oneIn(2) ? random.mutate(valid) : valid;
          descriptor(payload);
          depacketizer.add({ payload });
          bytes += payload.length;
        }
        const unit = depacketizer.finish();
        if (typeof unit === 'string') return;
        check(unit.data.length <= MAX_UNIT_BYTES, `a unit of ${unit.data.length} bytes`);
        // Start codes and remembered parameter sets (64 KiB) may be added.
        check(unit.data.length <= 3 * bytes + 66_000, `${bytes} bytes became ${unit.data.length}`);
      };
    },
  };
}

function h264Payloads(random: Random): readonly Buffer[] {
  const unit = (type: number, length: number) =>
    Buffer.concat([Buffer.of(0, 0, 0, 1, 0x60 | type), random.bytes(1 + random.int(length))]);
  const units = Array.from({ length: 1 + random.int(4) }, () => unit(random.pick([1, 5, 6, 7, 8, 9]), 3000));
  return packetizeH264(Buffer.concat(units), 1150);
}

const H264 = depacketizerTarget(
  'h264',
  () => new H264Depacketizer(),
  h264Payloads,
  (payload) => {
    startsPicture('H264', payload);
  },
);
const VP8 = depacketizerTarget(
  'vp8',
  () => new Vp8Depacketizer(),
  (random) => packetizeVp8(random.bytes(1 + random.int(4000)), random.int(0x8000), 1150),
  (payload) => {
    const read = parseVp8Descriptor(payload);
    check(read === undefined || read.bytes < payload.length, 'a descriptor without payload');
  },
);
const VP9 = depacketizerTarget(
  'vp9',
  () => new Vp9Depacketizer(),
  (random) =>
    Array.from({ length: 1 + random.int(4) }, (_, at) =>
      Buffer.concat([Buffer.of(at === 0 ? 0x8a : 0x80 | random.int(0x7f), 0x01), random.bytes(1 + random.int(1100))]),
    ),
  (payload) => {
    const read = parseVp9Descriptor(payload);
    check(read === undefined || read.bytes < payload.length, 'a descriptor without payload');
  },
);

/** OBUs of every kind in low-overhead format, as a sender that fragments at any size would send them. */
function av1Payloads(random: Random): readonly Buffer[] {
  const obus = Array.from({ length: 1 + random.int(5) }, () => {
    const type = random.pick([OBU.sequenceHeader, OBU.frame, OBU.frame, random.int(16)]);
    const body = random.bytes(1 + random.int(type === OBU.frame ? 2000 : 30));
    if (random.oneIn(2)) body[0] = random.pick([0x10, 0x30, 0x00, 0x08]);
    return Buffer.concat([Buffer.of((type << 3) | 2), leb128(body.length), body]);
  });
  return packetizeAv1(Buffer.concat(obus), { maxBytes: 60 + random.int(1100), lengths: random.oneIn(2), without: [] });
}

const AV1 = depacketizerTarget(
  'av1',
  () => new Av1Depacketizer(),
  av1Payloads,
  (payload) => {
    startsPicture('AV1', payload);
    const elements = parseAv1Payload(payload)?.elements ?? [];
    const bytes = elements.reduce((sum, element) => sum + element.length, 0);
    check(bytes <= payload.length, 'elements are longer than the packet');
    for (const element of elements) parseSequenceHeader(element);
  },
);

const TRANSPORT_CC: FuzzTarget = {
  name: 'transport-cc',
  about: 'arrivals with any sequence numbers and times: at most 16 well-formed packets a build',
  open() {
    const builder = new TransportFeedbackBuilder();
    let sequence = 0;
    let nowUs = 1_000_000;
    return (random) => {
      for (let packet = random.int(60); packet >= 0; packet -= 1) {
        sequence = nextNumber(random, sequence, 65_536);
        nowUs += random.pick([0, 100, 1000, 300_000, 9_000_000]);
        builder.onPacket(sequence, nowUs);
      }
      const packets = builder.build(1, 2);
      check(packets.length <= 16, `${packets.length} packets`);
      check(builder.pending === 0, 'arrivals stay behind');
      for (const packet of packets) {
        check(packet.length <= 1200, `a packet of ${packet.length} bytes`);
        check(parseTransportFeedback(packet) !== undefined, `malformed: ${packet.toString('hex')}`);
      }
    };
  },
};

const INGEST: FuzzTarget = {
  name: 'ingest',
  about: 'packets in any order through jitter buffer, clock and assembler: bounded, media time never runs away',
  open() {
    const jitter = new JitterBuffer<RtpPacket>({ waitUs: 80_000 });
    const sequences = new Unwrapper(16);
    const clock = new RtpClock();
    let units = 0;
    const assembler = new FrameAssembler({
      onAccessUnit: ({ data }) => {
        units += 1;
        check(data.length <= MAX_UNIT_BYTES, `a unit of ${data.length} bytes`);
      },
      onDrop: () => undefined,
      onKeyframeNeeded: () => undefined,
    });
    let sequence = 0;
    let nowUs = 0;
    return (random) => {
      sequence = nextNumber(random, sequence, 65_536);
      nowUs += random.pick([0, 500, 2000, 100_000]);
      const codec = random.pick<SourceCodec>(['H264', 'H264', 'VP8', 'VP9', 'AV1']);
      const payload = random.oneIn(10) ? Buffer.alloc(0) : (h264Payloads(random)[0] ?? Buffer.alloc(0));
      const packet = parseRtp(packetOf(random, random.oneIn(2) ? payload : random.mutate(payload), sequence));
      if (packet === undefined) return;
      const result = jitter.insert(sequences.unwrap(sequence), packet, nowUs);
      if (result === 'restart') assembler.restart();
      for (const { item, lostBefore, receivedAtUs } of jitter.drain(nowUs)) {
        const mediaTime = clock.map('stream', item.timestamp, receivedAtUs, item.marker);
        check(Number.isSafeInteger(mediaTime), `media time ${mediaTime}`);
        assembler.add({ packet: item, codec, mediaTime, receivedAtUs, lostBefore }, nowUs);
      }
      check(jitter.missing <= MAX_MISSING, `${jitter.missing} gaps`);
      check(jitter.size <= 2049, `${jitter.size} packets held`);
      check(jitter.takeRequests(nowUs, 0).length <= MAX_MISSING, 'too many requests');
      check(units >= 0, 'no units');
    };
  },
};

export const MEDIA_TARGETS: readonly FuzzTarget[] = [RTP, RTCP, H264, VP8, VP9, AV1, TRANSPORT_CC, INGEST];
