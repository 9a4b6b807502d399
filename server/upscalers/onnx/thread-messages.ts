import type { AppErrorJson } from '../../errors.ts';
import type { OnnxLayout, OnnxModel } from '../spec.ts';
import type { Samples } from './samples.ts';

/** What travels between an OnnxUpscaler and its inference thread. Sample buffers are transferred both ways, never copied. */

export interface ThreadData {
  readonly models: readonly OnnxModel[];
  readonly threads: number;
}

export type ToThread =
  | {
      readonly type: 'run';
      readonly stream: number;
      /** Index into `models`. */
      readonly model: number;
      readonly width: number;
      readonly height: number;
      readonly input: Samples;
      readonly output: Samples;
    }
  | { readonly type: 'forget'; readonly stream: number }
  /** Asks for what a stream remembers. */
  | { readonly type: 'recall'; readonly stream: number }
  /** Gives a new stream what `recall` gave out. */
  | { readonly type: 'remember'; readonly stream: number; readonly memory: Uint8Array }
  | { readonly type: 'close' };

/** A loaded model. */
export interface LoadedModel {
  readonly layout: OnnxLayout;
  readonly scale: number;
  readonly fixedWidth: number | undefined;
  readonly fixedHeight: number | undefined;
  readonly onGpu: boolean;
  /** It has recurrent state. */
  readonly remembers: boolean;
  /** Why it does not run where it should: its work is the next model's. */
  readonly lost?: AppErrorJson;
}

export type FromThread =
  | { readonly type: 'loaded'; readonly models: readonly LoadedModel[] }
  | { readonly type: 'failed'; readonly error: AppErrorJson }
  | {
      readonly type: 'done';
      readonly input: Samples;
      readonly output: Samples;
      readonly busyUs: number;
      readonly error: AppErrorJson | undefined;
      /** The GPU is gone for this model: the next one does its work. */
      readonly lost: boolean;
    }
  /** In the order in which it was asked for. */
  | { readonly type: 'recalled'; readonly memory: Uint8Array; readonly error: AppErrorJson | undefined };
