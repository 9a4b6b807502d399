import type { Clip } from '../clip.ts';
import { NodePublisher } from '../peers/node-publisher.ts';
import { NodeViewer } from '../peers/node-viewer.ts';
import { SignalingClient } from '../peers/signaling-client.ts';
import { sleep } from '../server-process.ts';

/** One honest publisher and viewer: what an attack on the same server must not spoil. */
export class HonestBroadcast {
  readonly #publisher: NodePublisher;
  readonly #viewer: NodeViewer;
  readonly #sockets: readonly SignalingClient[];

  private constructor(publisher: NodePublisher, viewer: NodeViewer, sockets: readonly SignalingClient[]) {
    this.#publisher = publisher;
    this.#viewer = viewer;
    this.#sockets = sockets;
  }

  static async start(url: string, name: string, clip: Clip): Promise<HonestBroadcast> {
    const [publishing, watching] = [await SignalingClient.connect(url), await SignalingClient.connect(url)];
    const publisher = new NodePublisher({ clip });
    await publisher.start(async (offer) => (await publishing.publish(name, offer)).sdp);
    const viewer = new NodeViewer({ countOnly: true });
    await viewer.start(async (offer) => (await watching.watch(name, offer)).sdp);
    await viewer.waitForFrames(30);
    return new HonestBroadcast(publisher, viewer, [publishing, watching]);
  }

  /**
   * Counts while something runs. `share`: frames that the viewer got of those that the publisher sent meanwhile, so that a
   * busy machine, on which the publisher sends fewer, does not look like an attack.
   */
  async during<T>(run: () => Promise<T>): Promise<{ result: T; framesPerSecond: number; share: number; sent: number }> {
    const [startedMs, sent, seen] = [performance.now(), this.#sent, this.#seen];
    const result = await run();
    await sleep(100);
    const seconds = (performance.now() - startedMs) / 1000;
    const [due, got] = [this.#sent - sent, this.#seen - seen];
    return { result, framesPerSecond: got / seconds, share: due === 0 ? 0 : got / due, sent: due };
  }

  get #sent(): number {
    return this.#publisher.getStats().framesSent;
  }

  get #seen(): number {
    return this.#viewer.getStats().frames;
  }

  /** The viewer gets more frames, however slowly on a busy machine. */
  async goesOn(): Promise<void> {
    await this.#viewer.waitForFrames(this.#seen + 5, 30_000);
  }

  async stop(): Promise<void> {
    await this.#viewer.stop();
    await this.#publisher.stop();
    for (const socket of this.#sockets) socket.close();
  }
}
