import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { BroadcastSummary } from '../../broadcast/statistics.ts';
import type { Subscriber, Subscription } from '../../broadcast/subscriber.ts';
import { loadConfig, type OutputOf } from '../../config/config.ts';
import { AppError } from '../../errors.ts';
import { createLog } from '../../log.ts';
import { Metrics } from '../../metrics.ts';
import type { OutputKind, OutputRun, RunRequest } from '../output-kind.ts';
import { OutputService, type OutputKinds } from '../output-service.ts';

/** The service over a list of broadcasts and a kind of output that the test drives; time is vitest's. */

type Recording = OutputOf<'recording'>;

class FakeRun implements OutputRun {
  readonly id: string;
  readonly kind = 'recorder';
  readonly state = { kind: 'connecting' } as const;
  readonly codec = 'H264';
  readonly renditions = [];
  readonly wantsSource = false;
  readonly bitrateBps = 800;
  progress = { target: 'file', frames: 10, bytes: 1000, dropped: 1 };
  closed = 0;
  readonly request: RunRequest<Recording>;
  constructor(request: RunRequest<Recording>) {
    this.id = request.id;
    this.request = request;
  }
  report = () => undefined;
  want = () => false;
  restart(): void {}
  onResult(): void {}
  onSource(): void {}
  onAudio(): void {}
  onState(): void {}
  onStats(): void {}
  close = async (): Promise<void> => {
    this.closed += 1;
  };
}

class FakeKind implements OutputKind<Recording> {
  readonly runs: FakeRun[] = [];
  readonly prepared: string[] = [];
  refuse: AppError | undefined;
  prepare({ name }: Recording): void {
    this.prepared.push(name);
  }
  open(request: RunRequest<Recording>): OutputRun {
    if (this.refuse !== undefined) throw this.refuse;
    const run = new FakeRun(request);
    this.runs.push(run);
    return run;
  }
}

class FakeBroadcast {
  readonly name: string;
  state: BroadcastSummary['state'] = 'live';
  readonly subscribers = new Map<string, Subscriber>();
  constructor(name: string) {
    this.name = name;
  }
  subscribe = <T extends Subscriber>(open: (subscription: Subscription) => T): T => {
    const subscriber = open({} as Subscription);
    this.subscribers.set(subscriber.id, subscriber);
    return subscriber;
  };
  unsubscribe = async (id: string): Promise<void> => {
    const subscriber = this.subscribers.get(id);
    this.subscribers.delete(id);
    await subscriber?.close();
  };
}

class FakeRegistry {
  readonly broadcasts = new Map<string, FakeBroadcast>();
  #listener: () => void = () => undefined;
  list() {
    const broadcasts = [...this.broadcasts.values()].map(({ name, state }) => ({ name, state }) as BroadcastSummary);
    return { broadcasts, capacity: { used: 0, total: 1 } };
  }
  get = (name: string) => this.broadcasts.get(name);
  onListChanged(listener: () => void): () => void {
    this.#listener = listener;
    return () => (this.#listener = () => undefined);
  }
  set(name: string, state: BroadcastSummary['state'] | 'gone'): FakeBroadcast {
    const broadcast = this.broadcasts.get(name) ?? new FakeBroadcast(name);
    if (state === 'gone') this.broadcasts.delete(name);
    else this.broadcasts.set(name, Object.assign(broadcast, { state }));
    this.#listener();
    return broadcast;
  }
}

let registry: FakeRegistry;
let kind: FakeKind;
let metrics: Metrics;
let service: OutputService;
beforeEach(() => {
  vi.useFakeTimers();
  registry = new FakeRegistry();
  kind = new FakeKind();
  metrics = new Metrics();
  const log = createLog({ ...loadConfig({}).log, level: 'silent' });
  // No test has an output of another type.
  const kinds: Partial<OutputKinds> = { recording: kind };
  service = new OutputService({ registry, log, metrics, kinds: kinds as OutputKinds });
});
afterEach(async () => {
  vi.useRealTimers();
  await service.close();
});

function recording(over: Partial<Recording> = {}): Recording {
  const [first] = loadConfig({
    argv: [
      '--outputs',
      JSON.stringify([{ name: 'archive', broadcast: '*', type: 'recording', folder: '/f', ...over }]),
    ],
  }).outputs;
  return first as Recording;
}

const failure = () => new AppError('output.disk', 'The disk is full.');

it('follows every broadcast, or the one it names, from the first picture to the end of its name', async () => {
  service.start(recording());
  service.start(recording({ name: 'stage', broadcast: 'stage' }));
  expect(kind.prepared).toEqual(['archive', 'stage']);
  expect(service.list()).toMatchObject([{ state: 'waiting', runs: [] }, { state: 'waiting' }]);
  registry.set('stage', 'waiting');
  expect(kind.runs).toHaveLength(0);
  registry.set('stage', 'live');
  registry.set('other', 'live');
  expect(kind.runs.map(({ request }) => [request.output.name, request.broadcast])).toEqual([
    ['archive', 'stage'],
    ['stage', 'stage'],
    ['archive', 'other'],
  ]);
  kind.runs[0]?.request.events.running();
  // Its publisher may come back: the file goes on.
  registry.set('other', 'waiting');
  expect(service.list()[0]?.runs).toMatchObject([
    { broadcast: 'stage', state: 'running', target: 'file', frames: 10, bytes: 1000, dropped: 1, failures: 0 },
    { broadcast: 'other', state: 'connecting' },
  ]);
  registry.set('other', 'gone');
  await vi.waitFor(() => expect(kind.runs[2]?.closed).toBeGreaterThan(0));
  expect(service.list()[0]?.runs).toHaveLength(1);
  expect(registry.get('stage')?.subscribers.size).toBe(2);
});

it('after a failure tries again, later each time, and no event of the old run counts', async () => {
  service.start(recording());
  const broadcast = registry.set('stage', 'live');
  kind.runs[0]?.request.events.failed(failure());
  expect(service.list()).toMatchObject([
    {
      state: 'failed',
      runs: [{ failures: 1, error: { code: 'output.disk', message: 'The disk is full.' }, frames: 10 }],
    },
  ]);
  expect(broadcast.subscribers.size).toBe(0);
  kind.runs[0]?.request.events.running();
  expect(service.list()[0]?.state).toBe('failed');
  await vi.advanceTimersByTimeAsync(1200);
  expect(kind.runs).toHaveLength(2);
  kind.runs[1]?.request.events.failed(failure());
  await vi.advanceTimersByTimeAsync(1500);
  expect(kind.runs).toHaveLength(2);
  await vi.advanceTimersByTimeAsync(1000);
  expect(kind.runs).toHaveLength(3);
  expect(kind.runs[0]?.closed).toBeGreaterThan(0);
  // What the other side asks for is kept.
  kind.runs[2]?.request.events.failed(failure(), 30_000);
  await vi.advanceTimersByTimeAsync(29_000);
  expect(kind.runs).toHaveLength(3);
  await vi.advanceTimersByTimeAsync(2000);
  expect(kind.runs).toHaveLength(4);
  expect(await metrics.text()).toContain('flashvsr_output_failures_total{output="archive",code="output.disk"} 3');
  expect(service.snapshot()).toMatchObject([{ output: 'archive', state: 'connecting', states: { connecting: 1 } }]);
});

it('what open() throws is a failure like any other; a broadcast that ends in the meantime is not tried again', async () => {
  kind.refuse = new AppError('target.refused', 'That address is private.');
  service.start(recording());
  registry.set('stage', 'live');
  expect(service.list()).toMatchObject([{ runs: [{ error: { code: 'target.refused' } }] }]);
  kind.refuse = undefined;
  registry.set('stage', 'gone');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(kind.runs).toHaveLength(0);
});

it('start and stop by name: stopped outputs stay listed, and one that runs is not replaced', async () => {
  service.start(recording({ enabled: false }));
  registry.set('stage', 'live');
  expect(service.list()).toMatchObject([{ name: 'archive', state: 'stopped' }]);
  expect(service.snapshot()).toMatchObject([{ output: 'archive', state: 'stopped' }]);
  service.start(recording());
  expect(kind.runs).toHaveLength(1);
  expect(() => service.start(recording())).toThrow('runs already');
  await service.stop('archive');
  expect(kind.runs[0]?.closed).toBeGreaterThan(0);
  expect(service.list()).toMatchObject([{ state: 'stopped', runs: [] }]);
  registry.set('stage', 'live');
  expect(kind.runs).toHaveLength(1);
  await expect(service.stop('nothing')).rejects.toThrow('no output "nothing"');
});

it('metrics say how many runs are in which state; closing ends them all, once', async () => {
  service.start(recording());
  registry.set('a', 'live');
  registry.set('b', 'live');
  kind.runs[0]?.request.events.running();
  expect(service.snapshot()).toEqual([
    {
      output: 'archive',
      type: 'recording',
      state: 'connecting',
      states: { connecting: 1, running: 1, failed: 0 },
      bitrateBps: 1600,
    },
  ]);
  await Promise.all([service.close(), service.close()]);
  expect(kind.runs.map(({ closed }) => closed > 0)).toEqual([true, true]);
  registry.set('c', 'live');
  expect(kind.runs).toHaveLength(2);
});
