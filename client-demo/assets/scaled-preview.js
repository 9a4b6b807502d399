/** @import {Capture} from './capture.js' */
import { scaleDownFactor } from './settings.js';

/** The own picture at the size that is sent: at full size it would look better than anything a viewer gets. */
export class ScaledPreview {
  stream;
  #player = document.createElement('video');
  #canvas = document.createElement('canvas');
  #height;

  /** @param {Capture} capture @param {number} height lines that are sent */
  constructor(capture, height) {
    this.#height = height;
    this.#player.muted = true;
    this.#player.playsInline = true;
    this.#player.srcObject = capture.stream;
    this.#player.play().catch(() => {});
    this.stream = this.#canvas.captureStream();
    const context = this.#canvas.getContext('2d');
    const draw = () => {
      const { videoWidth, videoHeight } = this.#player;
      const factor = scaleDownFactor(videoHeight, this.#height);
      const [width, lines] = [Math.round(videoWidth / factor), Math.round(videoHeight / factor)];
      if (this.#canvas.width !== width) this.#canvas.width = width;
      if (this.#canvas.height !== lines) this.#canvas.height = lines;
      context?.drawImage(this.#player, 0, 0, width, lines);
      if (this.#player.srcObject !== null) this.#player.requestVideoFrameCallback(draw);
    };
    this.#player.requestVideoFrameCallback(draw);
  }

  /** @param {number} height */
  setHeight(height) {
    this.#height = height;
  }

  close() {
    this.#player.srcObject = null;
    for (const track of this.stream.getTracks()) track.stop();
  }
}
