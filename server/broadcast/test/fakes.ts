import { loadConfig, type Config } from '../../config/config.ts';
import type { UpscalerInfo } from '../../upscalers/upscaler.ts';
import { createLog, type Log } from '../../log.ts';
import { traceAt } from '../../media/steps.ts';
import type { AccessUnit, EncodedFrame, ResultCodec, Rendition, SourceCodec } from '../../media/types.ts';
import type { PacketizedFrame } from '../../media/packetizer.ts';
import { Metrics } from '../../metrics.ts';
import type { EncoderRequest, PipelineSettings } from '../../pipeline/messages.ts';
import type {
  ForwardPacket,
  IceParameters,
  PublisherListener,
  PublisherPeer,
  RtcStack,
  ViewerListener,
  ViewerPeer,
} from '../../rtc/peers.ts';
import type { SessionSink, WatchRequest } from '../sessions.ts';
import type { PipelineListener, PipelinePort } from '../ports.ts';
import { BroadcastRegistry } from '../broadcast-registry.ts';
import { PeerSessions } from '../peer-sessions.ts';
import { broadcastSettings } from '../settings.ts';
import type { BroadcastStats, SessionState } from '../statistics.ts';

/** The domain with everything around it faked: time, peers and pipelines are driven by the test. */

/** A packet of a source, as it is forwarded. */
export const PACKET = {
  stream: 1,
  payload: new Uint8Array(3),
  marker: true,
  sequence: 1,
  timestamp: 2,
  mediaTime: 2,
  receivedAtUs: 3,
};

export class FakePublisher implements PublisherPeer {
  readonly id = 'publisher';
  state: PublisherPeer['state'] = 'connecting';
  closed = 0;
  keyframeRequests = 0;
  timestampsReplaced = 0;
  readonly listener: PublisherListener;
  constructor(listener: PublisherListener) {
    this.listener = listener;
  }
  accept = async (offer: string, admit?: () => void): Promise<string> => {
    if (offer === 'bad') throw new Error('bad sdp');
    admit?.();
    return 'answer';
  };
  restart = async (): Promise<string> => 'restarted';
  restartIce = async (remote: IceParameters): Promise<IceParameters> => remote;
  addCandidate = async (): Promise<void> => {};
  requestKeyframe(): void {
    this.keyframeRequests += 1;
  }
  getStats() {
    return {
      codec: 'VP8' as const,
      bitrateBps: 250_000,
      framesPerSecond: 30,
      packetsReceived: 1,
      packetsLost: 0,
      timestampsReplaced: this.timestampsReplaced,
      nacksSent: 0,
      keyframeRequestsSent: 0,
      hasAudio: false,
    };
  }
  close = async (): Promise<void> => {
    this.closed += 1;
    this.state = 'closed';
  };
  become(state: 'connected' | 'disconnected' | 'closed'): void {
    this.state = state;
    this.listener.onState(state);
  }
}

export class FakeViewer implements ViewerPeer {
  readonly id = 'viewer';
  state: ViewerPeer['state'] = 'connecting';
  takesResult = true;
  resultCodec: ResultCodec = 'H264';
  sourceCodecs: SourceCodec[] = [];
  readonly results: EncodedFrame[] = [];
  readonly sources: ForwardPacket[] = [];
  readonly audio: ForwardPacket[] = [];
  sourceJoins = 0;
  closed = 0;
  estimateBps: number | undefined;
  readonly listener: ViewerListener;
  readonly #nowUs: () => number;
  constructor(listener: ViewerListener, nowUs: () => number) {
    this.listener = listener;
    this.#nowUs = nowUs;
  }
  /** The offer names what the viewer takes: "VP8", "H264 source", "source only", "source only VP9". */
  accept = async (offer: string): Promise<string> => {
    if (offer === 'bad') throw new Error('bad sdp');
    this.resultCodec = offer.startsWith('VP8') ? 'VP8' : 'H264';
    this.takesResult = !offer.includes('only');
    if (offer.includes('source')) this.sourceCodecs = offer.includes('VP9') ? ['VP9'] : ['VP8', 'H264'];
    return 'answer';
  };
  restart = async (): Promise<string> => 'restarted';
  restartIce = async (remote: IceParameters): Promise<IceParameters> => remote;
  addCandidate = async (): Promise<void> => {};
  sendResult({ frame }: PacketizedFrame): void {
    this.results.push(frame);
  }
  sendSource(packet: ForwardPacket): void {
    this.sources.push(packet);
  }
  joinSource(): void {
    this.sourceJoins += 1;
  }
  sendAudio(packet: ForwardPacket): void {
    this.audio.push(packet);
  }
  getStats() {
    return {
      bitrateBps: 0,
      packetsSent: 0,
      fractionLost: 0,
      resentShare: 0,
      deliveredBps: undefined,
      // A receiver that estimates also reports.
      reportedAtUs: this.estimateBps === undefined ? undefined : this.#nowUs(),
      roundTripMs: undefined,
      estimateBps: this.estimateBps,
      nacksReceived: 0,
      keyframeRequestsReceived: 0,
    };
  }
  close = async (): Promise<void> => {
    this.closed += 1;
    this.state = 'closed';
  };
  connect(): void {
    this.become('connected');
  }
  become(state: 'connected' | 'disconnected' | 'closed'): void {
    this.state = state;
    this.listener.onState(state);
  }
}

export class FakePipeline implements PipelinePort {
  readonly units: AccessUnit[] = [];
  readonly keyframes: string[] = [];
  encoders: readonly EncoderRequest[] = [];
  settings: PipelineSettings | undefined;
  resets = 0;
  closed = 0;
  readonly listener: PipelineListener;
  constructor(listener: PipelineListener) {
    this.listener = listener;
  }
  push(unit: AccessUnit): void {
    this.units.push(unit);
  }
  setEncoders(encoders: readonly EncoderRequest[]): void {
    this.encoders = encoders;
  }
  configure({ keyframeIntervalSeconds, ladder }: PipelineSettings): void {
    this.settings = { keyframeIntervalSeconds, ladder };
  }
  requestKeyframe(codec: ResultCodec, rendition: Rendition): void {
    this.keyframes.push(`${codec} ${rendition}`);
  }
  reset(): void {
    this.resets += 1;
  }
  /** Set by tests: resolves when the thread is gone. */
  gone: Promise<void> = Promise.resolve();
  close = async (): Promise<void> => {
    this.closed += 1;
    await this.gone;
  };
}

export interface RecordedSink extends SessionSink {
  readonly states: { state: SessionState; code: string | undefined }[];
  readonly stats: BroadcastStats[];
}

export function recordingSink(): RecordedSink {
  const states: RecordedSink['states'] = [];
  const stats: BroadcastStats[] = [];
  return {
    states,
    stats,
    onState: (state, _reason, error) => void states.push({ state, code: error?.code }),
    onStats: (broadcast) => void stats.push(broadcast),
    onCandidate: () => {},
  };
}

export const INFO: UpscalerInfo = {
  kind: 'resize',
  label: 'Lanczos resize',
  superResolution: false,
  scale: 4,
  device: 'cpu',
  lookAheadFrames: 0,
  chunkFrames: 1,
  rungs: ['lanczos', 'bicubic'],
};

interface OfferOptions {
  readonly resumeToken?: string | undefined;
  readonly tokenKind?: 'issued' | 'own';
  readonly sdp?: string;
  readonly address?: string;
}

export class World {
  nowUs = 1_000_000;
  readonly publishers: FakePublisher[] = [];
  readonly viewers: FakeViewer[] = [];
  readonly pipelines: FakePipeline[] = [];
  readonly registry: BroadcastRegistry;
  readonly sessions: PeerSessions;
  readonly metrics = new Metrics();
  readonly engineFailures: string[] = [];

  constructor(options: { capacity?: number; argv?: string[]; log?: Log } = {}) {
    const config: Config = loadConfig({ argv: options.argv ?? [] });
    const rtc: RtcStack = {
      createPublisher: (listener) => {
        const peer = new FakePublisher(listener);
        this.publishers.push(peer);
        return peer;
      },
      createViewer: (listener) => {
        const peer = new FakeViewer(listener, () => this.nowUs);
        this.viewers.push(peer);
        return peer;
      },
      onError: () => {},
      close: async () => {},
    };
    this.registry = new BroadcastRegistry({
      settings: broadcastSettings(config),
      limits: config.limits,
      log: options.log ?? createLog({ level: 'silent', format: 'json' }),
      metrics: this.metrics,
      model: INFO,
      nowUs: () => this.nowUs,
      capacity: options.capacity ?? 4,
      onEngineFailed: ({ code }) => void this.engineFailures.push(code),
      createPipeline: (_name, listener) => {
        const pipeline = new FakePipeline(listener);
        this.pipelines.push(pipeline);
        return pipeline;
      },
    });
    this.sessions = new PeerSessions({
      registry: this.registry,
      rtc,
      metrics: this.metrics,
      model: INFO,
      iceServers: () => [],
      addressKey: (address) => address,
    });
  }

  /** An offer as it comes: nothing connects unless the test makes it. */
  offer(
    name: string,
    sink = recordingSink(),
    { resumeToken, tokenKind = 'issued', sdp = 'offer', address = '127.0.0.1' }: OfferOptions = {},
  ) {
    return this.sessions.publish({ name, sdp, resumeToken, tokenKind, remoteAddress: address }, sink);
  }

  /** A publisher that connects and sends its first picture. */
  async publish(name: string, sink = recordingSink(), resumeToken?: string, sdp = 'offer') {
    const reply = await this.offer(name, sink, { resumeToken, sdp });
    this.publishers.at(-1)?.become('connected');
    this.unit();
    return reply;
  }

  async watch(
    name: string,
    sdp = 'H264',
    sink = recordingSink(),
    waits = true,
    more: Partial<Pick<WatchRequest, 'show' | 'own'>> = {},
  ) {
    const request = { name, sdp, tracks: 'page', waits, remoteAddress: '127.0.0.1', ...more } as const;
    const reply = await this.sessions.watch(request, sink);
    const peer = this.viewers.at(-1);
    if (peer === undefined) throw new Error('no viewer peer was made');
    return { ...reply, peer, sink };
  }

  unit(index = this.publishers.length - 1): void {
    this.publishers[index]?.listener.onAccessUnit({
      codec: 'VP8',
      data: new Uint8Array([1]),
      mediaTime: 0,
      keyframe: true,
      receivedAtUs: this.nowUs,
      assembledAtUs: this.nowUs,
    });
  }

  private nextMediaTime = 0;
  frame(codec: ResultCodec, rendition: Rendition, keyframe: boolean, pipeline = this.pipelines.at(-1)): void {
    this.nextMediaTime += 3000;
    const at = this.nowUs;
    pipeline?.listener.onFrame({
      codec,
      rendition,
      keyframe,
      data: new Uint8Array(100),
      mediaTime: this.nextMediaTime,
      width: 1280,
      height: 720,
      trace: traceAt(at),
    });
  }

  /** Lets `seconds` pass; every broadcast ticks once a second as the registry's timer would make it. */
  pass(seconds: number): void {
    for (let second = 0; second < seconds; second += 1) {
      this.nowUs += 1_000_000;
      this.registry.tick();
    }
  }
}
