/** @import {Capture} from './capture.js' */
import { h, setText } from './dom.js';
import { icon, setIcon } from './icons.js';
import { LevelMeter } from './level-meter.js';
import { Listeners } from './listeners.js';

/** Microphone and camera of a person who is live, or about to be: mute, pause, and how loud it is. */
export class LiveControls {
  #root;
  #microphone;
  #camera;
  #meter = new LevelMeter('Microphone level');
  /** @type {Capture | undefined} */
  #capture;
  #live = false;

  /** The camera's button: true asks for a pause. @type {Listeners<boolean>} */
  onPause = new Listeners();

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    this.#microphone = toggle('microphone', 'Mute', () => this.#toggleMute());
    this.#camera = toggle('camera', 'Pause', () => {
      this.onPause.emit(this.#camera.getAttribute('aria-pressed') !== 'true');
    });
    root.append(h('div', { class: 'pair' }, this.#microphone, this.#camera), this.#meter.element);
    this.show(undefined, false);
  }

  /** @param {Capture | undefined} capture @param {boolean} live whether there is a broadcast to pause */
  show(capture, live) {
    const sound = capture?.kind === 'camera' ? capture.audioTrack : undefined;
    if (capture !== this.#capture) this.#meter.follow(sound);
    this.#capture = capture;
    this.#live = live;
    this.setPaused(false);
  }

  /** @param {boolean} paused */
  setPaused(paused) {
    const capture = this.#capture;
    const muted = capture?.muted === true;
    this.#microphone.hidden = capture?.audioTrack === undefined;
    this.#camera.hidden = !this.#live;
    this.#root.hidden = this.#microphone.hidden && this.#camera.hidden;
    const [sound, video] = capture?.kind === 'camera' ? ['microphone', 'camera'] : ['sound', 'video'];
    face(this.#microphone, muted, muted ? 'Unmute' : 'Mute', sound, muted ? 'microphoneOff' : 'microphone');
    face(this.#camera, paused, paused ? 'Resume' : 'Pause', video, paused ? 'cameraOff' : 'camera');
  }

  get microphoneOpen() {
    return (
      this.#live && this.#capture?.kind === 'camera' && this.#capture.audioTrack !== undefined && !this.#capture.muted
    );
  }

  #toggleMute() {
    const paused = this.#camera.getAttribute('aria-pressed') === 'true';
    this.#capture?.setMuted(!this.#capture.muted);
    this.setPaused(paused);
  }
}

/** @param {string} name @param {string} text @param {() => void} run */
function toggle(name, text, run) {
  const button = h(
    'button',
    { type: 'button', class: 'icon-button', 'aria-pressed': 'false' },
    icon(name),
    h('span', {}, text),
  );
  button.addEventListener('click', run);
  return button;
}

/**
 * @param {HTMLButtonElement} button
 * @param {boolean} pressed
 * @param {string} verb
 * @param {string} what
 * @param {'microphone' | 'microphoneOff' | 'camera' | 'cameraOff'} name
 */
function face(button, pressed, verb, what, name) {
  button.setAttribute('aria-pressed', String(pressed));
  button.setAttribute('aria-label', `${verb} ${what}`);
  setText(/** @type {Element} */ (button.querySelector('span')), verb);
  setIcon(button, name);
}
