import { Message, classes, methods, parseMessage } from 'werift';
import { describe, expect, it } from 'vitest';
import type { Address } from '../../udp-socket.ts';
import {
  buildCheck,
  buildError,
  buildQuery,
  buildSuccess,
  hasIntegrity,
  newTransactionId,
  parseStun,
  type StunMessage,
} from '../stun.ts';

const hex = (text: string) => Buffer.from(text.replace(/\s/g, ''), 'hex');
/** RFC 5769 sections 2.1 to 2.3: attributes with SOFTWARE, integrity and fingerprint. */
const PASSWORD = 'VOkJxbRl1RmTxUk/WvJxBt';
const REQUEST = hex(`000100582112a442b7e7a701bc34d686fa87dfae 802200105354554e207465737420636c69656e74
  002400046e0001ff 80290008932ff9b151263b36 000600096576746a3a68367659202020
  000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004e57a3bcf`);
const RESPONSE_V4 = hex(`0101003c2112a442b7e7a701bc34d686fa87dfae 8022000b7465737420766563746f7220
  002000080001a147e112a643 000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004c07d4c96`);
const RESPONSE_V6 = hex(`010100482112a442b7e7a701bc34d686fa87dfae 8022000b7465737420766563746f7220
  002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9 00080014a382954e4be67bf11784c97c8292c275bfe3ed41
  80280004c8fb0b4c`);

function parsed(data: Buffer): StunMessage {
  const message = parseStun(data);
  if (message === undefined) throw new Error(`not STUN: ${data.toString('hex')}`);
  return message;
}

describe('parseStun', () => {
  it('reads the request of RFC 5769 and its integrity', () => {
    const message = parsed(REQUEST);
    expect(message).toMatchObject({
      messageClass: 'request',
      username: 'evtj:h6vY',
      priority: 0x6e0001ff,
      useCandidate: false,
      role: { controlling: false, tieBreaker: 0x932ff9b151263b36n },
    });
    expect(hasIntegrity(REQUEST, message, PASSWORD)).toBe(true);
    expect(hasIntegrity(REQUEST, message, `${PASSWORD}x`)).toBe(false);
  });

  it.each<[string, Buffer, string]>([
    ['IPv4', RESPONSE_V4, '192.0.2.1'],
    ['IPv6', RESPONSE_V6, '2001:db8:1234:5678:11:2233:4455:6677'],
  ])('reads the %s response of RFC 5769', (_family, data, host) => {
    const message = parsed(data);
    expect(message).toMatchObject({ messageClass: 'success', mappedAddress: [host, 32853] });
    expect(hasIntegrity(data, message, PASSWORD)).toBe(true);
  });

  it('refuses a changed byte anywhere but in the type of FINGERPRINT, which makes it an attribute to be ignored', () => {
    for (let at = 0; at < REQUEST.length; at += at === 99 ? 3 : 1) {
      const changed = Buffer.from(REQUEST);
      changed[at] = (changed[at] as number) ^ 0x55;
      expect(parseStun(changed), `byte ${at}`).toBeUndefined();
    }
  });

  it.each<[string, Buffer]>([
    ['nothing', Buffer.alloc(0)],
    ['a cut header', REQUEST.subarray(0, 19)],
    ['a cut message', REQUEST.subarray(0, REQUEST.length - 4)],
    ['bytes after the message', Buffer.concat([REQUEST, Buffer.alloc(4)])],
    ['another method', Buffer.concat([hex('0003'), REQUEST.subarray(2)])],
    ['a datagram of 65507 bytes', Buffer.alloc(65_507, 1)],
  ])('refuses %s', (_what, data) => {
    expect(parseStun(data)).toBeUndefined();
  });

  it('ignores what follows MESSAGE-INTEGRITY (RFC 8489 section 14.5)', () => {
    const id = newTransactionId();
    const check = buildCheck(id, { ...CHECK, useCandidate: false });
    const bare = check.subarray(0, check.length - 8);
    const appended = Buffer.concat([bare, hex('00250000')]);
    appended.writeUInt16BE(appended.length - 20, 2);
    const message = parsed(appended);
    expect(message.useCandidate).toBe(false);
    expect(hasIntegrity(appended, message, CHECK.password)).toBe(true);
  });
});

const CHECK = {
  username: 'abcd:efgh',
  password: 'p'.repeat(24),
  priority: 1_845_501_695,
  controlling: true,
  tieBreaker: 0xfedc_ba98_7654_3210n,
  useCandidate: true,
};

describe('built messages', () => {
  it('are read back, and by werift', () => {
    const id = newTransactionId();
    const data = buildCheck(id, CHECK);
    expect(parsed(data)).toMatchObject({
      messageClass: 'request',
      username: CHECK.username,
      priority: CHECK.priority,
      role: { controlling: true, tieBreaker: CHECK.tieBreaker },
      useCandidate: true,
    });
    const theirs = parseMessage(data, Buffer.from(CHECK.password));
    expect(theirs?.messageClass).toBe(classes.REQUEST);
    expect(theirs?.getAttributeValue('USERNAME')).toBe(CHECK.username);
    expect(theirs?.getAttributeValue('ICE-CONTROLLING')).toBe(CHECK.tieBreaker);
    expect(parseMessage(data, Buffer.from('another'))).toBeUndefined();
  });

  it.each<Address>([
    ['203.0.113.7', 65535],
    ['2001:db8:0:0:0:0:0:1', 1],
  ])('carry the mapped address %s %d', (host, port) => {
    const id = newTransactionId();
    const data = buildSuccess(id, [host, port], 'secret');
    const message = parsed(data);
    expect(message.mappedAddress).toEqual([host, port]);
    expect(message.transactionId.equals(id)).toBe(true);
    expect(hasIntegrity(data, message, 'secret')).toBe(true);
    const compressed = parsed(buildSuccess(id, [host.replace(':0:0:0:0:0:', '::'), port], undefined));
    expect(compressed.mappedAddress).toEqual([host, port]);
    expect(hasIntegrity(data, compressed, 'secret')).toBe(false);
  });

  it('carry error codes', () => {
    const data = buildError(newTransactionId(), 487, 'secret');
    expect(parsed(data)).toMatchObject({ messageClass: 'error', errorCode: 487 });
    expect(parseMessage(data)?.getAttributeValue('ERROR-CODE')).toEqual([487, '']);
  });

  it('ask a STUN server, and understand the answer of werift', () => {
    const id = newTransactionId();
    const request = parseMessage(buildQuery(id));
    if (request === undefined) throw new Error('werift does not read the query');
    const response = new Message(methods.BINDING, classes.RESPONSE, request.transactionId);
    response.setAttribute('XOR-MAPPED-ADDRESS', ['198.51.100.9', 4321]);
    expect(parsed(response.bytes)).toMatchObject({ messageClass: 'success', mappedAddress: ['198.51.100.9', 4321] });
  });
});
