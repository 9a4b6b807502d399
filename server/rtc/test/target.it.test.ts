import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { testRtcOptions } from '../../../testing/rtc-options.ts';
import { until } from '../../../testing/until.ts';
import type { AppError } from '../../errors.ts';
import { packetize } from '../../media/packetizer.ts';
import { traceAt } from '../../media/steps.ts';
import type { AccessUnit, EncodedFrame } from '../../media/types.ts';
import type { PeerState, TargetOptions } from '../peers.ts';
import { PeerStack } from '../peer-stack.ts';

/** Our own offer, answered by a publisher peer of a second stack: real sockets on 127.0.0.1. */

const SIZE = { width: 16, height: 16 };

/** A VP8 keyframe or inter frame whose bytes say its number. */
function frame(number: number): EncodedFrame {
  const keyframe = number === 0;
  const start = keyframe ? [0x10, 0, 0, 0x9d, 0x01, 0x2a, 16, 0, 16, 0] : [0x11, 0, 0];
  return {
    codec: 'VP8',
    rendition: 'full',
    data: Buffer.concat([Buffer.from(start), Buffer.from(`${number}`.padEnd(3000, '.'))]),
    mediaTime: 3000 * number,
    keyframe,
    ...SIZE,
    trace: traceAt(0, 0),
  };
}

describe('a target', () => {
  let ours: PeerStack;
  let theirs: PeerStack;
  let errors: AppError[];
  const units: AccessUnit[] = [];
  const audio: number[] = [];
  const states: PeerState[] = [];
  const causes: (AppError | undefined)[] = [];
  const keyframes: string[] = [];

  beforeEach(() => {
    errors = [];
    for (const list of [units, audio, states, causes, keyframes]) list.length = 0;
    ours = new PeerStack(testRtcOptions());
    theirs = new PeerStack(testRtcOptions());
    for (const stack of [ours, theirs]) stack.onError((error) => errors.push(error));
  });

  afterEach(async () => {
    await Promise.all([ours.close(), theirs.close()]);
    expect([ours.size, theirs.size]).toEqual([0, 0]);
  });

  function target(options: Partial<TargetOptions> = {}) {
    return ours.createTarget(
      {
        onState: (state, cause) => {
          states.push(state);
          causes.push(cause);
        },
        onKeyframeRequest: (track) => keyframes.push(track),
      },
      { maxOutput: SIZE, allowsAddress: (address) => address === '127.0.0.1', connectWithinMs: 30_000, ...options },
    );
  }

  function taker() {
    return theirs.createPublisher({
      onState: () => undefined,
      onAccessUnit: (unit) => units.push(unit),
      onVideoPacket: () => undefined,
      onAudioPacket: ({ timestamp }) => audio.push(timestamp),
      onDrop: () => undefined,
    });
  }

  it.each([
    ['DTLS client', 'actpass'],
    ['DTLS server', 'passive'],
  ] as const)('gets every picture in order and the sound, ours being %s', async (_role, setup) => {
    const [peer, far] = [target(), taker()];
    const offer = await peer.offer({ track: 'result', codecs: ['H264', 'VP8'] });
    expect(offer).toContain('a=setup:actpass');
    // The far side becomes the DTLS client when the offer leaves it no choice.
    const answer = await far.accept(
      offer.replaceAll('a=setup:actpass', `a=setup:${setup}`).replace(/ 96 97 98 99\r\n/, ' 98 99\r\n'),
    );
    await peer.acceptAnswer(answer);
    expect(peer.resultCodec).toBe('VP8');
    await until(() => peer.state === 'connected' && far.state === 'connected', 'both sides');
    for (let number = 0; number < 20; number += 1) {
      peer.sendResult(packetize(frame(number)));
      const common = { stream: 1, marker: true, receivedAtUs: 0, sequence: number };
      const times = { timestamp: 960 * number, mediaTime: 1800 * number };
      peer.sendAudio({ ...common, ...times, payload: Buffer.from([0xfc, number]) });
      await until(() => units.length > number, `picture ${number}`);
    }
    await until(() => audio.length === 20, 'the sound');
    expect(
      units.map(({ data }) =>
        Buffer.from(data)
          .toString('latin1')
          .replace(/^.*?(\d+)\.*$/s, '$1'),
      ),
    ).toEqual(Array.from({ length: 20 }, (_, number) => String(number)));
    expect(units.map(({ mediaTime }) => mediaTime - (units[0]?.mediaTime ?? 0))).toEqual(
      Array.from({ length: 20 }, (_, number) => 3000 * number),
    );
    expect(audio.map((time) => time - (audio[0] ?? 0))).toEqual(Array.from({ length: 20 }, (_, n) => 960 * n));
    far.requestKeyframe();
    await until(() => keyframes.length > 0, 'its request for a keyframe');
    expect(new Set(keyframes)).toEqual(new Set(['result']));
    expect(errors).toEqual([]);
    await far.close();
    // By close_notify, long before silence is noticed.
    await until(() => peer.state === 'closed', 'the end');
    expect(states).toEqual(['connected', 'closed']);
    expect(causes).toEqual([undefined, undefined]);
  });

  it('does not lose checks that overtake the answer', async () => {
    const [peer, far] = [target(), taker()];
    const offer = await peer.offer({ track: 'result', codecs: ['VP8'] });
    const answer = await far.accept(offer);
    const side = () => JSON.stringify(ours.toJSON());
    await until(() => /"checksBeforeAnswer":[1-9]/.test(side()), 'a check of the far side');
    expect(side()).toContain('"requestsReceived":0,');
    await peer.acceptAnswer(answer);
    // Answered with the answer, not when it is repeated half a second later.
    expect(side()).toMatch(/"requestsReceived":[1-9]/);
    await until(() => peer.state === 'connected' && far.state === 'connected', 'both sides');
    expect(errors).toEqual([]);
  });

  it('gets nothing at addresses that may not be sent to', async () => {
    const asked: string[] = [];
    const [peer, far] = [target({ allowsAddress: (address) => asked.push(address) < 0, connectWithinMs: 1 }), taker()];
    const answer = await far.accept(
      (await peer.offer({ track: 'result', codecs: ['VP8'] })).replaceAll(/a=candidate.*\r\n/g, ''),
    );
    await peer.acceptAnswer(answer);
    await until(() => peer.state === 'closed', 'giving up');
    expect(asked).toEqual(['127.0.0.1']);
    expect(ours.size).toBe(0);
  });

  it('is offered once and answered once', async () => {
    const [peer, far] = [target(), taker()];
    await expect(peer.acceptAnswer('v=0')).rejects.toMatchObject({ code: 'request.state' });
    const offer = await peer.offer({ track: 'source', codecs: ['VP8'] });
    await expect(peer.offer({ track: 'source', codecs: ['VP8'] })).rejects.toMatchObject({ code: 'request.state' });
    const answer = await far.accept(offer);
    await expect(peer.acceptAnswer('<html>')).rejects.toMatchObject({ code: 'sdp.invalid' });
    await peer.acceptAnswer(answer);
    expect(peer.sourceCodecs).toEqual(['VP8']);
    await expect(peer.acceptAnswer(answer)).rejects.toMatchObject({ code: 'request.state' });
  });
});

describe('a peer that is pulled', () => {
  let ours: PeerStack;
  let theirs: PeerStack;
  const errors: AppError[] = [];
  const units: AccessUnit[] = [];
  const audio: number[] = [];
  const states: PeerState[] = [];
  const keyframes: string[] = [];

  beforeEach(() => {
    for (const list of [errors, units, audio, states, keyframes]) list.length = 0;
    ours = new PeerStack(testRtcOptions());
    theirs = new PeerStack(testRtcOptions());
    for (const stack of [ours, theirs]) stack.onError((error) => errors.push(error));
  });

  afterEach(async () => {
    await Promise.all([ours.close(), theirs.close()]);
    expect([ours.size, theirs.size]).toEqual([0, 0]);
  });

  const pulled = () =>
    ours.createPulled(
      {
        onState: (state) => states.push(state),
        onAccessUnit: (unit) => units.push(unit),
        onVideoPacket: () => undefined,
        onAudioPacket: ({ timestamp }) => audio.push(timestamp),
        onDrop: () => undefined,
      },
      { allowsAddress: (address) => address === '127.0.0.1', connectWithinMs: 30_000 },
    );
  const sender = () =>
    theirs.createViewer({ onState: () => undefined, onKeyframeRequest: (track) => keyframes.push(track) }, SIZE);

  it.each([
    ['DTLS client', 'actpass'],
    ['DTLS server', 'passive'],
  ] as const)('brings every picture in order and the sound, ours being %s', async (_role, setup) => {
    const [peer, far] = [pulled(), sender()];
    const offer = await peer.offer();
    expect(offer).toContain('a=setup:actpass');
    // The far side becomes the DTLS client when the offer leaves it no choice, and takes VP8 where there is no H264.
    const answer = await far.accept(
      offer.replaceAll('a=setup:actpass', `a=setup:${setup}`).replaceAll(' H264/90000', ' H265/90000'),
    );
    await peer.acceptAnswer(answer);
    await until(() => peer.state === 'connected' && far.state === 'connected', 'both sides');
    for (let number = 0; number < 20; number += 1) {
      far.sendResult(packetize(frame(number)));
      const common = { stream: 1, marker: true, receivedAtUs: 0, sequence: number };
      const times = { timestamp: 960 * number, mediaTime: 1800 * number };
      far.sendAudio({ ...common, ...times, payload: Buffer.from([0xfc, number]) });
      await until(() => units.length > number, `picture ${number}`);
    }
    await until(() => audio.length === 20, 'the sound');
    const numbers = units.map(({ data }) => /(\d+)\.*$/.exec(Buffer.from(data).toString('latin1'))?.[1]);
    expect(numbers).toEqual(Array.from({ length: 20 }, (_, number) => String(number)));
    const times = units.map(({ mediaTime }) => mediaTime - (units[0]?.mediaTime ?? 0));
    expect(times).toEqual(Array.from({ length: 20 }, (_, number) => 3000 * number));
    expect(audio.map((time) => time - (audio[0] ?? 0))).toEqual(Array.from({ length: 20 }, (_, n) => 960 * n));
    expect(peer.getStats()).toMatchObject({ codec: 'VP8', hasAudio: true, packetsLost: 0 });
    peer.requestKeyframe();
    await until(() => keyframes.length > 0, 'our request for a keyframe');
    expect(new Set(keyframes)).toEqual(new Set(['result']));
    expect(errors).toEqual([]);
    await far.close();
    // By close_notify, long before silence is noticed.
    await until(() => peer.state === 'closed', 'the end');
    expect(states).toEqual(['connected', 'closed']);
  });

  it('is offered once and answered once', async () => {
    const [peer, far] = [pulled(), sender()];
    await expect(peer.acceptAnswer('v=0')).rejects.toMatchObject({ code: 'request.state' });
    const answer = await far.accept(await peer.offer());
    await expect(peer.offer()).rejects.toMatchObject({ code: 'request.state' });
    await expect(peer.acceptAnswer('<html>')).rejects.toMatchObject({ code: 'sdp.invalid' });
    await peer.acceptAnswer(answer);
    await expect(peer.acceptAnswer(answer)).rejects.toMatchObject({ code: 'request.state' });
  });
});
