/** @import {Notice} from './notice.js' */

/** Headphones: a microphone that hears the loudspeakers gives viewers an echo. */
export class EchoWarning {
  #notice;
  /** The notice shown is this one. */
  #shown = false;

  /** @param {Notice} notice */
  constructor(notice) {
    this.#notice = notice;
  }

  /** @param {boolean} soundOn @param {boolean} microphoneOpen */
  update(soundOn, microphoneOpen) {
    if (soundOn && microphoneOpen) {
      const text = 'Your microphone is on: without headphones, viewers hear an echo.';
      this.#notice.show({ tone: 'info', title: 'Use headphones to listen here.', text });
      this.#shown = true;
    } else if (!soundOn && this.#shown) {
      this.#shown = false;
      this.#notice.clear();
    }
  }
}
