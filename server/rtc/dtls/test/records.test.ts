import { describe, expect, it } from 'vitest';
import { MAX_EARLY_RECORDS, MAX_RECORDS_PER_DATAGRAM, MAX_RECORD_BYTES } from '../limits.ts';
import { ContentType } from '../protocol.ts';
import { RecordProtection } from '../record-protection.ts';
import { RecordReader, RecordWriter, splitDatagram } from '../records.ts';
import { ReplayWindow } from '../replay-window.ts';
import { SUITES } from '../suites.ts';

const GCM = SUITES[0] as (typeof SUITES)[number];
const protection = (suite = GCM, fill = 1) =>
  new RecordProtection(suite, Buffer.alloc(suite.keyBytes, fill), Buffer.alloc(suite.fixedNonceBytes, fill));

interface Header {
  readonly type?: number;
  readonly version?: number;
  readonly epoch?: number;
  readonly length?: number;
}
function record({ type = 22, version = 0xfefd, epoch = 0, length }: Header, content = Buffer.alloc(4)): Buffer {
  const header = Buffer.alloc(13);
  header[0] = type;
  header.writeUInt16BE(version, 1);
  header.writeUInt16BE(epoch, 3);
  header.writeUInt16BE(length ?? content.length, 11);
  return Buffer.concat([header, content]);
}
const count = (datagram: Buffer) => {
  const { records, refused } = splitDatagram(datagram);
  return [records.length, refused];
};

describe('a datagram', () => {
  it.each<readonly [string, Buffer, readonly number[]]>([
    ['nothing', Buffer.alloc(0), [0, 0]],
    ['one record', record({}), [1, 0]],
    ['of DTLS 1.0 in epoch 0', record({ version: 0xfeff }), [1, 0]],
    ['of DTLS 1.0 in epoch 1', record({ version: 0xfeff, epoch: 1 }), [0, 1]],
    ['of TLS', record({ version: 0x0303 }), [0, 1]],
    ['of an unknown type', record({ type: 24 }), [0, 1]],
    ['half a header', record({}).subarray(0, 12), [0, 1]],
    ['fewer bytes than claimed', record({ length: 5 }), [0, 1]],
    ['longer than a record may be', record({}, Buffer.alloc(MAX_RECORD_BYTES + 1)), [0, 1]],
    ['garbage behind a record', Buffer.concat([record({}), Buffer.alloc(20)]), [1, 1]],
    ['empty records', Buffer.concat([record({}, Buffer.alloc(0)), record({}, Buffer.alloc(0))]), [2, 0]],
  ])('%s', (_what, datagram, expected) => {
    expect(count(datagram)).toEqual(expected);
  });

  it('of 65507 bytes is read for no more than MAX_RECORDS_PER_DATAGRAM records', () => {
    const datagram = Buffer.concat(Array.from({ length: 5039 }, () => record({}, Buffer.alloc(0))));
    expect(count(datagram)).toEqual([MAX_RECORDS_PER_DATAGRAM, 1]);
  });
});

describe('protection', () => {
  it.each(SUITES)('$name opens what it sealed, and nothing that was changed', (suite) => {
    const sequence = Buffer.from([0, 1, 0, 0, 0, 0, 0, 9]);
    const plain = Buffer.from('handshake');
    const sealed = protection(suite).seal(22, sequence, plain);
    expect(sealed.length).toBe(plain.length + protection(suite).overheadBytes);
    expect(protection(suite).open(22, sequence, sealed)).toEqual(plain);
    for (let at = 0; at < sealed.length; at++) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] as number) ^ 0x80;
      expect(protection(suite).open(22, sequence, changed)).toBeUndefined();
    }
    const later = Buffer.from([0, 1, 0, 0, 0, 0, 0, 10]);
    expect(protection(suite).open(22, later, sealed)).toBeUndefined(); // the sequence number is authenticated
    expect(protection(suite).open(21, sequence, sealed)).toBeUndefined(); // so is the type
    expect(protection(suite, 2).open(22, sequence, sealed)).toBeUndefined();
    for (let length = 0; length < protection(suite).overheadBytes; length++) {
      expect(protection(suite).open(22, sequence, sealed.subarray(0, length))).toBeUndefined();
    }
  });
});

describe('the reader', () => {
  const [first] = splitDatagram(record({ type: ContentType.alert })).records;

  function secureReader() {
    const reader = new RecordReader();
    const writer = new RecordWriter();
    writer.protect(protection());
    return { reader, writer };
  }
  const open = (reader: RecordReader, datagram: Buffer) => {
    const [only] = splitDatagram(datagram).records;
    return only === undefined ? undefined : reader.open(only);
  };

  it('takes clear text before the ChangeCipherSpec and none after it', () => {
    const { reader } = secureReader();
    if (first === undefined) throw new Error('no record');
    expect(reader.open(first)).toMatchObject({ authentic: false });
    reader.changeCipherSpec(protection());
    expect(reader.open(first)).toBeUndefined();
  });

  it('refuses replays, other epochs and other keys', () => {
    const { reader, writer } = secureReader();
    reader.changeCipherSpec(protection());
    const good = writer.write(ContentType.alert, 1, Buffer.from([1, 0]));
    expect(open(reader, good)).toMatchObject({ authentic: true, content: Buffer.from([1, 0]) });
    expect(open(reader, good)).toBeUndefined();

    const otherEpoch = writer.write(ContentType.alert, 1, Buffer.from([1, 0]));
    otherEpoch.writeUInt16BE(2, 3);
    expect(open(reader, otherEpoch)).toBeUndefined();

    const stranger = new RecordWriter();
    stranger.protect(protection(GCM, 3));
    for (let n = 0; n < 5; n++) stranger.write(ContentType.alert, 1, Buffer.from([2, 0]));
    expect(open(reader, stranger.write(ContentType.alert, 1, Buffer.from([2, 0])))).toBeUndefined();
    // A forged record moves no window: the next good one still counts.
    expect(open(reader, writer.write(ContentType.alert, 1, Buffer.from([1, 0])))).toBeDefined();
  });

  it('keeps a bounded number of small records that overtook the ChangeCipherSpec', () => {
    const { reader, writer } = secureReader();
    for (let n = 0; n < 100; n++) open(reader, writer.write(ContentType.handshake, 1, Buffer.from([n])));
    open(reader, writer.write(ContentType.handshake, 1, Buffer.alloc(3000)));
    const early = reader.changeCipherSpec(protection());
    expect(early).toHaveLength(MAX_EARLY_RECORDS);
    expect(early.map((kept) => reader.open(kept)?.content[0])).toEqual([92, 93, 94, 95, 96, 97, 98, 99]);
  });
});

it('the replay window knows the last 64 sequence numbers, in any order', () => {
  const window = new ReplayWindow();
  const fresh = (sequence: number) => {
    const isFresh = !window.isReplay(sequence);
    if (isFresh) window.accept(sequence);
    return isFresh;
  };
  expect([0, 5, 3, 5, 3, 0, 1].map(fresh)).toEqual([true, true, true, false, false, false, true]);
  expect(fresh(68)).toBe(true); // 68 - 64 = 4
  expect([4, 5, 6, 6].map(fresh)).toEqual([false, false, true, false]);
  expect(fresh(2 ** 48 - 1)).toBe(true);
  expect([68, 2 ** 48 - 64, 2 ** 48 - 65].map(fresh)).toEqual([false, true, false]);
});
