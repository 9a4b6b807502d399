import type { StepTimes } from '../media/steps.ts';

/** What the domain says about its broadcasts and sessions; plain data that signaling, HTTP and metrics pass on as it is. */

/** waiting: no publisher yet or gone for now; live; paused: publisher connected but sends nothing; ended: session is over. */
export type SessionState = 'waiting' | 'live' | 'paused' | 'ended';

export interface BroadcastSummary {
  name: string;
  state: 'waiting' | 'live' | 'paused';
  viewers: number;
  sourceWidth: number;
  sourceHeight: number;
  outputWidth: number;
  outputHeight: number;
  startedAt: string;
}

/** `capacity`: broadcasts running and the most this server takes at once, so that a page can say "full" before trying. */
export interface BroadcastList {
  broadcasts: BroadcastSummary[];
  capacity: { used: number; total: number };
}

export interface ModelSummary {
  kind: 'resize' | 'onnx' | 'flashvsr';
  label: string;
  superResolution: boolean;
  scale: number;
  device: string;
}

/** Pushed once a second to publishers and viewers of a broadcast. Times in ms, rates in bit/s. */
export interface BroadcastStats {
  source: {
    width: number;
    height: number;
    framesPerSecond: number;
    bitrateBps: number;
    codec: string;
    packetsLost: number;
    /** Pictures that got the time of their arrival because the publisher's timestamps stood still or ran backwards. */
    timestampsReplaced: number;
    /** B-frames: how long pictures wait for their place in presentation order, on average, ms; 0: the source has none. */
    reorderMs: number;
    /** Viewers get the source's packets too; false: it has B-frames, which browsers do not play over WebRTC. */
    forwarded: boolean;
  };
  output: { width: number; height: number; framesPerSecond: number; bitrateBps: number; codec: string };
  /** `rungCause`, when the rung is not 0: the machine's load, a source too large for the rungs before, or drawn content that they would harm. */
  model: ModelSummary & { rung: number; rungLabel: string; rungCause: 'load' | 'size' | 'content' };
  /** Server-side, last packet of the frame in -> first packet of the upscaled frame out, over the last second. */
  addedLatencyMs: { p50: number; p95: number };
  /** Medians over the last second, in the order of the frame's way (docs/life-of-a-frame.md). */
  steps: StepTimes;
  stepsP95: StepTimes;
  drops: Record<string, number>;
  /** 0..1 of the upscaler's time; of an engine that several broadcasts share: by all of them. */
  load: number;
  /** The presentation delay the pictures are paced by, and how many left more than 15 ms after their time. */
  pace: { delayMs: number; framesLate: number };
  viewers: number;
  audio: { present: boolean; delayMs: number };
}

export interface ViewerSessionStats {
  bitrateBps: number;
  fractionLost: number;
  roundTripMs: number | null;
  estimateBps: number | null;
  rendition: 'full' | 'low';
}
