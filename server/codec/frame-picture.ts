import { AV_PIX_FMT_YUV420P, AV_PIX_FMT_YUV420P10LE, type AVPixelFormat } from 'node-av/constants';
import { Frame } from 'node-av/lib';
import { AppError } from '../errors.ts';
import type { MediaTime, Colour } from '../media/types.ts';
import type { FrameTrace } from '../media/steps.ts';
import { setFrameColour } from './colour.ts';
import { check } from './native.ts';
import type { Picture } from '../media/picture.ts';

/**
 * Buffers of node-av point into native memory without holding it. Code that still has a plane (or any view of
 * its ArrayBuffer) must therefore keep the frame alive: this map does, and lets go with the last view.
 */
const framesByPlane = new WeakMap<ArrayBufferLike, Frame>();

/** The frame's planes as views of its native memory, safe against the frame being collected before them. */
export function planesOf(frame: Frame): readonly Buffer[] {
  const planes = frame.data;
  if (planes === null) throw new AppError('internal', 'A frame without pixel data was used.');
  for (const plane of planes) framesByPlane.set(plane.buffer, frame);
  return planes;
}

/** A frame with its own pixel memory; rows are aligned for SIMD. */
export function allocateFrame(width: number, height: number, format: AVPixelFormat = AV_PIX_FMT_YUV420P): Frame {
  const frame = new Frame();
  frame.alloc();
  frame.width = width;
  frame.height = height;
  frame.format = format;
  check(frame.getBuffer(), `Allocating a ${width}x${height} frame`, 'engine.memory', { context: { width, height } });
  return frame;
}

/**
 * A picture whose planes are the memory of a libav frame: decode, scale and encode pass it on without a copy.
 * Its planes are read-only: a decoder may still use them as a reference.
 */
export class FramePicture implements Picture {
  readonly width: number;
  readonly height: number;
  readonly yStride: number;
  readonly uvStride: number;
  readonly colour: Colour;
  readonly bitDepth: 8 | 10;
  readonly mediaTime: MediaTime;
  readonly trace: FrameTrace;
  #frame: Frame | undefined;
  #planes: readonly Buffer[] | undefined;
  readonly #recycle: (frame: Frame) => void;

  /** @param recycle takes the frame back on release(); without it the memory is freed then. */
  constructor(
    frame: Frame,
    colour: Colour,
    mediaTime: MediaTime,
    trace: FrameTrace,
    recycle: (frame: Frame) => void = freeFrame,
  ) {
    this.#frame = frame;
    this.#recycle = recycle;
    this.width = frame.width;
    this.height = frame.height;
    const [yStride = 0, uvStride = 0] = frame.linesize;
    this.yStride = yStride;
    this.uvStride = uvStride;
    this.colour = colour;
    this.bitDepth = frame.format === AV_PIX_FMT_YUV420P10LE ? 10 : 8;
    this.mediaTime = mediaTime;
    this.trace = trace;
  }

  get y(): Uint8Array {
    return this.#plane(0);
  }

  get u(): Uint8Array {
    return this.#plane(1);
  }

  get v(): Uint8Array {
    return this.#plane(2);
  }

  /** For this room only. */
  get frame(): Frame {
    if (this.#frame === undefined) throw usedAfterRelease();
    return this.#frame;
  }

  /** Gives the memory back at once instead of at some garbage collection. Idempotent; no plane may be touched afterwards. */
  release(): void {
    const frame = this.#frame;
    if (frame === undefined) return;
    this.#frame = undefined;
    this.#planes = undefined;
    this.#recycle(frame);
  }

  #plane(index: number): Uint8Array {
    this.#planes ??= planesOf(this.frame);
    const plane = this.#planes[index];
    if (plane === undefined) throw new AppError('internal', `A frame has no plane ${index}.`);
    return plane;
  }
}

function usedAfterRelease(): AppError {
  return new AppError('internal', 'A picture was used after it was released.');
}

function freeFrame(frame: Frame): void {
  frame.free();
}

/** Frames of one size and format, reused: allocating and faulting in 1.4 MB per 720p picture costs more than filling it. */
export class FramePool {
  readonly width: number;
  readonly height: number;
  readonly #format: AVPixelFormat;
  readonly #free: Frame[] = [];
  readonly #maxFree: number;
  #closed = false;

  constructor(width: number, height: number, format: AVPixelFormat = AV_PIX_FMT_YUV420P, maxFree = 4) {
    this.width = width;
    this.height = height;
    this.#format = format;
    this.#maxFree = maxFree;
  }

  acquire(): Frame {
    for (let frame = this.#free.pop(); frame !== undefined; frame = this.#free.pop()) {
      // An encoder that still holds a reference would see our next picture in its last one.
      if (frame.isWritable) return frame;
      frame.free();
    }
    return allocateFrame(this.width, this.height, this.#format);
  }

  /** Bound, so that it serves as a FramePicture's recycle function. */
  readonly recycle = (frame: Frame): void => {
    if (this.#closed || this.#free.length >= this.#maxFree) frame.free();
    else this.#free.push(frame);
  };

  /** Idempotent. Frames still out are freed when they come back. */
  close(): void {
    this.#closed = true;
    for (const frame of this.#free.splice(0)) frame.free();
  }
}

/**
 * The picture as a libav frame: its own memory if it has one, otherwise copied into `pool`'s frame (which `done` returns).
 */
export function frameOf(picture: Picture, poolFor: () => FramePool): { frame: Frame; done: () => void } {
  if (picture instanceof FramePicture) return { frame: picture.frame, done: () => undefined };
  const pool = poolFor();
  const frame = pool.acquire();
  const [y, u, v] = planesOf(frame);
  const [yStride = 0, uvStride = 0] = frame.linesize;
  const chromaWidth = (picture.width + 1) >> 1;
  const chromaHeight = (picture.height + 1) >> 1;
  copyPlane(picture.y, picture.yStride, y, yStride, picture.width, picture.height);
  copyPlane(picture.u, picture.uvStride, u, uvStride, chromaWidth, chromaHeight);
  copyPlane(picture.v, picture.uvStride, v, uvStride, chromaWidth, chromaHeight);
  setFrameColour(frame, picture.colour);
  return { frame, done: () => pool.recycle(frame) };
}

function copyPlane(
  from: Uint8Array,
  fromStride: number,
  to: Buffer | undefined,
  toStride: number,
  width: number,
  height: number,
): void {
  if (to === undefined) throw new AppError('internal', 'A frame lacks a plane.');
  if (fromStride === toStride) {
    to.set(from.subarray(0, fromStride * (height - 1) + width));
    return;
  }
  for (let row = 0; row < height; row += 1) {
    to.set(from.subarray(row * fromStride, row * fromStride + width), row * toStride);
  }
}
