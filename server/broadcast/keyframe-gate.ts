import type { EncodedFrame, Rendition } from '../media/types.ts';
import type { SubscriberState } from './subscriber.ts';

/**
 * Decides which frames a subscriber's decoder can use, and nothing else does: a decoder starts, and changes rendition, only
 * at a keyframe, and starts again after anything was missed.
 *
 * ```
 * connecting --connected--> waitingKeyframe --its keyframe--> playing --interrupted--> interrupted --connected--> waitingKeyframe
 *                                 ^------------restart-----------+
 * ```
 */
export class KeyframeGate {
  #state: SubscriberState = { kind: 'connecting' };

  get state(): SubscriberState {
    return this.#state;
  }

  /** It can take frames and packets now. */
  get open(): boolean {
    return this.#state.kind === 'waitingKeyframe' || this.#state.kind === 'playing';
  }

  /** Renditions whose encoder must run: during a change both, so that the picture never stops. */
  get renditions(): readonly Rendition[] {
    const state = this.#state;
    if (state.kind === 'waitingKeyframe') return [state.rendition];
    if (state.kind !== 'playing') return [];
    return state.wanted === state.rendition ? [state.wanted] : [state.wanted, state.rendition];
  }

  /** The rendition it is to decode; `full` until it has been given another. */
  get wanted(): Rendition {
    const state = this.#state;
    if (state.kind === 'waitingKeyframe') return state.rendition;
    return state.kind === 'playing' ? state.wanted : 'full';
  }

  /** @returns true when it waits for a keyframe from now on */
  connected(): boolean {
    if (this.#state.kind !== 'connecting' && this.#state.kind !== 'interrupted') return false;
    this.#state = { kind: 'waitingKeyframe', rendition: 'full' };
    return true;
  }

  /** @returns true when it took frames until now */
  interrupted(): boolean {
    if (!this.open) return false;
    this.#state = { kind: 'interrupted' };
    return true;
  }

  restart(): void {
    if (this.open) this.#state = { kind: 'waitingKeyframe', rendition: this.wanted };
  }

  close(): void {
    this.#state = { kind: 'closed' };
  }

  /** @returns true when the wanted rendition changed */
  want(rendition: Rendition): boolean {
    const state = this.#state;
    if (!this.open || this.wanted === rendition) return false;
    this.#state =
      state.kind === 'playing'
        ? { kind: 'playing', rendition: state.rendition, wanted: rendition }
        : { kind: 'waitingKeyframe', rendition };
    return true;
  }

  /** @returns true when the frame is for this decoder; a keyframe of the wanted rendition switches to it */
  admits({ keyframe, rendition }: Pick<EncodedFrame, 'keyframe' | 'rendition'>): boolean {
    if (!this.open) return false;
    if (keyframe && rendition === this.wanted) this.#state = { kind: 'playing', rendition, wanted: rendition };
    return this.#state.kind === 'playing' && this.#state.rendition === rendition;
  }
}
