import { h, setText } from './dom.js';

const SVG = 'http://www.w3.org/2000/svg';
/** One value a poll: four minutes. */
const MOST_VALUES = 120;
const WIDTH = 240;
const HEIGHT = 48;

/**
 * The course of one figure as a line over its last minutes, from zero up, with the newest value beside its name.
 */
export class SparkChart {
  element;
  #value = h('span', { class: 'spark-value' });
  #line = document.createElementNS(SVG, 'polyline');
  #area = document.createElementNS(SVG, 'polygon');
  #picture = document.createElementNS(SVG, 'svg');
  #format;
  #least;
  #label;
  /** @type {number[]} */
  #values = [];

  /**
   * @param {string} label
   * @param {(value: number) => string} format
   * @param {number} [least] what the height stands for at least: a load of 1, for example
   */
  constructor(label, format, least = 0) {
    this.#label = label;
    this.#format = format;
    this.#least = least;
    this.#picture.setAttribute('viewBox', `0 0 ${WIDTH} ${HEIGHT}`);
    this.#picture.setAttribute('preserveAspectRatio', 'none');
    this.#picture.setAttribute('role', 'img');
    this.#area.setAttribute('class', 'spark-area');
    this.#line.setAttribute('class', 'spark-line');
    this.#picture.append(this.#area, this.#line);
    const head = h('figcaption', {}, h('span', {}, label), this.#value);
    this.element = h('figure', { class: 'spark' }, head);
    this.element.append(this.#picture);
  }

  /** @param {number} value */
  push(value) {
    this.#values.push(Number.isFinite(value) ? value : 0);
    if (this.#values.length > MOST_VALUES) this.#values.shift();
    const top = Math.max(this.#least, ...this.#values, Number.EPSILON);
    const points = this.#values.map((each, index) => {
      // The newest stands at the right edge from the first one on.
      const x = WIDTH - ((this.#values.length - 1 - index) * WIDTH) / (MOST_VALUES - 1);
      return `${x.toFixed(1)},${(HEIGHT - 2 - (each / top) * (HEIGHT - 4)).toFixed(1)}`;
    });
    const first = points[0]?.split(',')[0] ?? '0';
    this.#line.setAttribute('points', points.join(' '));
    this.#area.setAttribute('points', `${first},${HEIGHT} ${points.join(' ')} ${WIDTH},${HEIGHT}`);
    setText(this.#value, this.#format(value));
    const highest = this.#format(Math.max(...this.#values));
    this.#picture.setAttribute('aria-label', `${this.#label}: ${this.#format(value)}, at most ${highest}`);
  }
}
