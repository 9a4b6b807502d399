import type { SessionRecord } from '../media/session-recording.ts';
import type { AccessUnit, MonotonicUs } from '../media/types.ts';
import { AppError } from '../errors.ts';
import type { RtcOptions } from './peers.ts';
import { PublisherConnection } from './publisher-connection.ts';
import type { PeerTransport, TransportListener } from './secure-transport.ts';
import type { LocalTransportParameters } from './transport-parameters.ts';

/**
 * A recorded session through the same connection, tracks, jitter buffer and assembler that received it. They take their time as an
 * argument, so the same packets and ticks give the same access units, on any machine and at any speed.
 */

/** In place of sockets: says what the recorded transport said, sends nothing. */
class ReplayTransport implements PeerTransport {
  readonly state = 'connected';
  readonly secure = true;
  readonly counters = { packetsSent: 0, bytesSent: 0, packetsReceived: 0, bytesReceived: 0, packetsRefused: 0 };
  roundTripUs: number | undefined;
  readonly listener: TransportListener;

  constructor(listener: TransportListener) {
    this.listener = listener;
  }

  accept(): Promise<LocalTransportParameters> {
    return Promise.resolve({
      usernameFragment: 'replay',
      password: 'replay-replay-replay-replay',
      fingerprint: '00',
      setup: 'passive',
      candidates: [],
      gatheringComplete: true,
    });
  }

  update(): Promise<LocalTransportParameters> {
    return this.accept();
  }

  addCandidate(): void {}

  sendRtp(): number {
    return 0;
  }

  sendRtcp(): void {}

  tick(): void {}

  async close(): Promise<void> {}
}

export interface ReplayEvents {
  onAccessUnit(unit: AccessUnit): void;
  /** The digest that the recording holds for the access unit in the same position. */
  onRecordedUnit(digest: string): void;
}

/** @throws AppError file.unreadable when packets come before an offer */
export async function replaySession(
  records: Iterable<SessionRecord>,
  rtc: RtcOptions,
  events: ReplayEvents,
): Promise<{ readonly packets: number }> {
  let transport: ReplayTransport | undefined;
  const connection = new PublisherConnection(
    { rtc, createTransport: (listener) => (transport = new ReplayTransport(listener)) },
    {
      onState: () => undefined,
      onAccessUnit: (unit) => events.onAccessUnit(unit),
      onVideoPacket: () => undefined,
      onAudioPacket: () => undefined,
      onDrop: () => undefined,
    },
    {
      onClosed: () => undefined,
      onListenerError: (error) => {
        throw AppError.from(error);
      },
      onPending: () => undefined,
    },
  );
  if (transport === undefined) throw new AppError('internal', 'The connection made no transport.');
  let offered = false;
  let packets = 0;
  for (const { type, atUs, data } of records) {
    if (type === 'offer') {
      await (offered ? connection.renegotiate(data.toString()) : connection.accept(data.toString()));
      offered = true;
    } else if (!offered) {
      throw new AppError('file.unreadable', 'The recording is damaged: a packet comes before the first offer.');
    } else {
      packets += deliver(type, atUs, data, transport, connection, events);
    }
  }
  await connection.close();
  return { packets };
}

/** @returns packets delivered */
function deliver(
  type: Exclude<SessionRecord['type'], 'offer'>,
  atUs: MonotonicUs,
  data: Buffer,
  transport: ReplayTransport,
  connection: PublisherConnection,
  events: ReplayEvents,
): number {
  switch (type) {
    case 'rtp':
      transport.listener.onRtp(data, atUs);
      return 1;
    case 'rtcp':
      transport.listener.onRtcp(data, atUs);
      return 1;
    case 'tick': {
      const roundTripUs = data.length === 8 ? data.readDoubleLE() : Number.NaN;
      transport.roundTripUs = Number.isNaN(roundTripUs) ? undefined : roundTripUs;
      connection.tick(atUs);
      return 0;
    }
    case 'unit':
      events.onRecordedUnit(data.toString('hex'));
      return 0;
  }
}
