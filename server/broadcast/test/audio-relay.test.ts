import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { Log } from '../../log.ts';
import type { ForwardPacket } from '../../rtc/peers.ts';
import { AudioRelay } from '../audio-relay.ts';
import { PACKET } from './fakes.ts';

beforeEach(() => void vi.useFakeTimers({ now: 0 }));
afterEach(() => void vi.useRealTimers());

const nowUs = () => Date.now() * 1000;
const packet = (sequence: number): ForwardPacket => ({ ...PACKET, sequence, receivedAtUs: nowUs() });

it("takes the model's delay unless a setting names one, and changes with either", () => {
  const relay = new AudioRelay('auto', { nowUs, log: {} as Log, metrics: { error: vi.fn() }, send: vi.fn() });
  expect(relay.delayMs).toBe(0);
  relay.setModelDelay(470);
  expect(relay.delayMs).toBe(470);
  relay.configure(100);
  expect(relay.delayMs).toBe(100);
  relay.setModelDelay(300);
  expect(relay.delayMs).toBe(100);
  relay.configure('auto');
  expect(relay.delayMs).toBe(300);
});

it('what sending throws is counted each time, logged once a second, and stops no later packet', () => {
  const log = { error: vi.fn() };
  const metrics = { error: vi.fn() };
  const sent: number[] = [];
  const relay = new AudioRelay(0, {
    ...{ nowUs, log: log as unknown as Log, metrics },
    send: ({ sequence }) => {
      sent.push(sequence);
      throw new Error('no way out');
    },
  });
  for (let sequence = 0; sequence < 60; sequence += 1) {
    relay.push(packet(sequence));
    vi.advanceTimersByTime(20);
  }
  relay.clear();
  expect(sent).toEqual(Array.from({ length: 60 }, (_, sequence) => sequence));
  expect(metrics.error).toHaveBeenCalledTimes(60);
  expect(log.error).toHaveBeenCalledTimes(2);
});
