import { h } from './dom.js';

/** One pixel of the result is this many CSS pixels wide in the lens. */
const ZOOM = 2;
const PANE = 150;

/**
 * A lens over both pictures: the same spot of original and result at the same magnification, both scaled by the browser
 * alone. Follows the pointer, or the arrow keys.
 */
export class Loupe {
  #original;
  #result;
  #stage;
  #canvas;
  #box;
  /** Spot under the lens, 0..1 of the picture. */
  #spot = { x: 0.35, y: 0.4 };
  #active = false;

  /** @param {HTMLElement} stage @param {HTMLVideoElement} original @param {HTMLVideoElement} result */
  constructor(stage, original, result) {
    this.#stage = stage;
    this.#original = original;
    this.#result = result;
    this.#canvas = h('canvas', { 'aria-hidden': 'true' });
    const captions = h('div', { class: 'loupe-captions' }, h('span', {}, 'Original'), h('span', {}, 'Result'));
    this.#box = h('div', { class: 'loupe', hidden: true }, this.#canvas, captions);
    stage.append(this.#box);
    stage.addEventListener('pointermove', (event) => this.#point(event));
    stage.addEventListener('pointerdown', (event) => this.#point(event));
  }

  get active() {
    return this.#active;
  }

  /** @param {boolean} active */
  setActive(active) {
    if (active === this.#active) return;
    this.#active = active;
    this.#box.hidden = !active;
    if (active) requestAnimationFrame(() => this.#draw());
  }

  /** @param {number} dx @param {number} dy parts of the picture */
  move(dx, dy) {
    this.#spot = { x: clamp(this.#spot.x + dx), y: clamp(this.#spot.y + dy) };
  }

  /** @param {PointerEvent} event */
  #point(event) {
    if (!this.#active) return;
    const { left, top, width, height } = this.#stage.getBoundingClientRect();
    this.#spot = { x: clamp((event.clientX - left) / width), y: clamp((event.clientY - top) / height) };
  }

  #draw() {
    if (!this.#active) return;
    requestAnimationFrame(() => this.#draw());
    const context = this.#canvas.getContext('2d');
    const { videoWidth, videoHeight } = this.#result;
    if (context === null || videoWidth === 0) return;
    const density = Math.max(1, devicePixelRatio);
    const stage = this.#stage.getBoundingClientRect();
    const pane = Math.min(PANE, stage.width / 2 - 16);
    const size = Math.round(pane * density);
    if (this.#canvas.width !== size * 2) {
      this.#canvas.width = size * 2;
      this.#canvas.height = size;
      this.#canvas.style.width = `${pane * 2}px`;
      this.#canvas.style.height = `${pane}px`;
    }
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = 'high';
    const width = Math.min(1, pane / ZOOM / videoWidth);
    const height = Math.min(1, pane / ZOOM / videoHeight);
    const x = Math.min(1 - width, Math.max(0, this.#spot.x - width / 2));
    const y = Math.min(1 - height, Math.max(0, this.#spot.y - height / 2));
    [this.#original, this.#result].forEach((video, index) => {
      const { videoWidth: w, videoHeight: h2 } = video;
      if (w > 0) context.drawImage(video, x * w, y * h2, width * w, height * h2, index * size, 0, size, size);
    });
    this.#place(stage, pane);
  }

  /** Beside the spot, inside the stage. @param {DOMRect} stage @param {number} pane */
  #place(stage, pane) {
    const left = Math.min(stage.width - pane * 2 - 8, Math.max(8, this.#spot.x * stage.width - pane));
    const below = this.#spot.y * stage.height + 28;
    const top = below + pane + 30 > stage.height ? Math.max(8, this.#spot.y * stage.height - pane - 54) : below;
    this.#box.style.transform = `translate(${left}px, ${top}px)`;
  }
}

/** @param {number} value */
function clamp(value) {
  return Math.min(1, Math.max(0, value));
}
