import type { DropReason, MonotonicUs } from '../media/types.ts';
import type { Picture } from '../media/picture.ts';

export type DropPicture = (picture: Picture, reason: DropReason) => void;

/**
 * The bounded queue in front of the upscaler: the only place behind the decoder where live pictures wait. A newer picture
 * is worth more than an older one, so the oldest goes when it is full, and one that waited too long goes before any
 * work is spent on it.
 */
export class PictureQueue {
  readonly #pictures: Picture[] = [];
  readonly #capacity: number;
  readonly #maxAgeUs: number;
  readonly #drop: DropPicture;

  /**
   * @param maxAgeUs since the access unit was complete (`assembledAtUs`), less what the decoder held it for: waiting for its place
   *   in presentation order is no backlog
   */
  constructor(capacity: number, maxAgeUs: number, drop: DropPicture) {
    this.#capacity = capacity;
    this.#maxAgeUs = maxAgeUs;
    this.#drop = drop;
  }

  get length(): number {
    return this.#pictures.length;
  }

  push(picture: Picture): void {
    while (this.#pictures.length >= this.#capacity) this.#dropFirst('queue-full');
    this.#pictures.push(picture);
  }

  /** The oldest picture that is still worth the work. */
  take(nowUs: MonotonicUs): Picture | undefined {
    for (;;) {
      const first = this.#pictures[0];
      if (first === undefined) return undefined;
      const { assembledAtUs, heldUs = 0 } = first.trace;
      if (nowUs - assembledAtUs - heldUs <= this.#maxAgeUs) {
        this.#pictures.shift();
        return first;
      }
      this.#dropFirst('stale');
    }
  }

  /** Puts a picture back that the upscaler would not take yet. */
  putBack(picture: Picture): void {
    this.#pictures.unshift(picture);
  }

  clear(reason: DropReason): void {
    while (this.#pictures.length > 0) this.#dropFirst(reason);
  }

  #dropFirst(reason: DropReason): void {
    const picture = this.#pictures.shift();
    if (picture !== undefined) this.#drop(picture, reason);
  }
}
