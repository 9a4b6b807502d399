import { h } from './dom.js';

const EVERY_MS = 100;
/** From a quiet room to full scale. */
const FLOOR_DB = -60;

/** How loud a microphone is. Give it a track and it follows; without one it is silent. */
export class LevelMeter {
  element;
  #bar;
  /** @type {AudioContext | undefined} */
  #context;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;

  /** @param {string} label */
  constructor(label) {
    this.#bar = h('span', { class: 'level-bar' });
    const role = { role: 'meter', 'aria-label': label, 'aria-valuemin': '0', 'aria-valuemax': '100' };
    this.element = h('div', { class: 'level', ...role, hidden: true }, this.#bar);
    this.#show(0);
  }

  /** @param {MediaStreamTrack | undefined} track */
  follow(track) {
    this.close();
    this.element.hidden = track === undefined;
    if (track === undefined) return;
    const context = new AudioContext();
    this.#context = context;
    const analyser = context.createAnalyser();
    analyser.fftSize = 1024;
    context.createMediaStreamSource(new MediaStream([track])).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    this.#timer = setInterval(() => {
      analyser.getFloatTimeDomainData(samples);
      this.#show(track.enabled ? loudness(samples) : 0);
    }, EVERY_MS);
  }

  close() {
    clearInterval(this.#timer);
    void this.#context?.close();
    this.#context = undefined;
    this.#show(0);
  }

  /** @param {number} level 0..1 */
  #show(level) {
    this.#bar.style.setProperty('--level', String(level));
    this.element.setAttribute('aria-valuenow', String(Math.round(level * 100)));
  }
}

/** Root mean square in dB of full scale, mapped to 0..1. @param {Float32Array} samples */
export function loudness(samples) {
  let sum = 0;
  for (const sample of samples) sum += sample * sample;
  const decibels = 10 * Math.log10(sum / samples.length + 1e-12);
  return Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB));
}
