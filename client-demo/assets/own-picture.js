/** @import {Capture} from './capture.js' */
/** @import {CompareView} from './compare-view.js' */
import { ScaledPreview } from './scaled-preview.js';

/** The publisher's own picture as it is sent. It costs a decoder and a canvas: it runs no longer than it is seen. */
export class OwnPicture {
  #view;
  /** @type {ScaledPreview | undefined} */
  #preview;

  /** @param {CompareView} view */
  constructor(view) {
    this.#view = view;
  }

  get shown() {
    return this.#preview !== undefined;
  }

  /** @param {Capture} capture @param {number} height of what is sent, pixels @param {string} label */
  show(capture, height, label) {
    this.end();
    this.#preview = new ScaledPreview(capture, height);
    this.#view.showPreview(this.#preview.stream, label);
  }

  /** @param {number} height of what is sent, pixels */
  setHeight(height) {
    this.#preview?.setHeight(height);
  }

  end() {
    this.#preview?.close();
    this.#preview = undefined;
  }
}
