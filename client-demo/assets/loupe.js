import { h } from './dom.js';

/** One pixel of the result is this many CSS pixels wide in the lens. */
const ZOOM = 2;
const PANE = 150;
/** On a stage narrower than this the lens would cover the picture that it inspects: it stands below. */
const DOCKED_BELOW_PX = 560;

/**
 * A lens over both pictures: the same spot of original and result at the same magnification, both scaled by the browser
 * alone. Follows the pointer, or the arrow keys.
 */
export class Loupe {
  #original;
  #result;
  #stage;
  #pictures;
  #canvas;
  #box;
  #mark;
  /** Spot under the lens, 0..1 of the picture. */
  #spot = { x: 0.35, y: 0.4 };
  #active = false;

  /**
   * @param {HTMLElement} stage
   * @param {HTMLElement} pictures
   * @param {HTMLVideoElement} original
   * @param {HTMLVideoElement} result
   */
  constructor(stage, pictures, original, result) {
    this.#stage = stage;
    this.#pictures = pictures;
    this.#original = original;
    this.#result = result;
    this.#canvas = h('canvas', { 'aria-hidden': 'true' });
    const captions = h('div', { class: 'loupe-captions' }, h('span', {}, 'Original'), h('span', {}, 'Result'));
    this.#box = h('div', { class: 'loupe', hidden: true }, this.#canvas, captions);
    this.#mark = h('div', { class: 'loupe-mark', 'aria-hidden': 'true', hidden: true });
    stage.append(this.#box);
    pictures.append(this.#mark);
    pictures.addEventListener('pointermove', (event) => this.#point(event));
    pictures.addEventListener('pointerdown', (event) => this.#point(event));
  }

  get active() {
    return this.#active;
  }

  /** @param {boolean} active */
  setActive(active) {
    if (active === this.#active) return;
    this.#active = active;
    this.#box.hidden = !active;
    this.#mark.hidden = !active;
    this.#stage.classList.toggle('with-loupe', active);
    if (active) requestAnimationFrame(() => this.#draw());
  }

  /** @param {number} dx @param {number} dy parts of the picture */
  move(dx, dy) {
    this.#spot = { x: clamp(this.#spot.x + dx), y: clamp(this.#spot.y + dy) };
  }

  /** @param {PointerEvent} event */
  #point(event) {
    if (!this.#active) return;
    const { left, top, width, height } = this.#pictures.getBoundingClientRect();
    this.#spot = { x: clamp((event.clientX - left) / width), y: clamp((event.clientY - top) / height) };
  }

  #draw() {
    if (!this.#active) return;
    requestAnimationFrame(() => this.#draw());
    const context = this.#canvas.getContext('2d');
    const { videoWidth, videoHeight } = this.#result;
    if (context === null || videoWidth === 0) return;
    const density = Math.max(1, devicePixelRatio);
    const shown = this.#pictures.getBoundingClientRect();
    const docked = shown.width < DOCKED_BELOW_PX && document.fullscreenElement === null;
    const pane = docked ? Math.min(2 * PANE, shown.width / 2) : Math.min(PANE, shown.width / 2 - 16);
    const rows = docked ? 0.75 : 1;
    const size = Math.round(pane * density);
    const tall = Math.round(size * rows);
    if (this.#canvas.width !== size * 2 || this.#canvas.height !== tall) {
      this.#canvas.width = size * 2;
      this.#canvas.height = tall;
      this.#canvas.style.width = `${pane * 2}px`;
      this.#canvas.style.height = `${pane * rows}px`;
    }
    context.imageSmoothingEnabled = true;
    context.imageSmoothingQuality = 'high';
    const width = Math.min(1, pane / ZOOM / videoWidth);
    const height = Math.min(1, (pane * rows) / ZOOM / videoHeight);
    const x = Math.min(1 - width, Math.max(0, this.#spot.x - width / 2));
    const y = Math.min(1 - height, Math.max(0, this.#spot.y - height / 2));
    [this.#original, this.#result].forEach((video, index) => {
      const { videoWidth: w, videoHeight: h2 } = video;
      if (w > 0) context.drawImage(video, x * w, y * h2, width * w, height * h2, index * size, 0, size, tall);
    });
    this.#stage.classList.toggle('loupe-docked', docked);
    this.#place(shown, pane, docked);
    Object.assign(this.#mark.style, {
      left: `${x * 100}%`,
      top: `${y * 100}%`,
      width: `${width * 100}%`,
      height: `${height * 100}%`,
    });
  }

  /** Beside the spot, inside the stage. @param {DOMRect} shown @param {number} pane @param {boolean} docked */
  #place(shown, pane, docked) {
    if (docked) {
      this.#box.style.transform = '';
      return;
    }
    const left = Math.min(shown.width - pane * 2 - 8, Math.max(8, this.#spot.x * shown.width - pane));
    const below = this.#spot.y * shown.height + 28;
    const top = below + pane + 30 > shown.height ? Math.max(8, this.#spot.y * shown.height - pane - 54) : below;
    this.#box.style.transform = `translate(${left}px, ${top}px)`;
  }
}

/** @param {number} value */
function clamp(value) {
  return Math.min(1, Math.max(0, value));
}
