/** @import {PageStore, PublishSettings} from './settings.js' */
import { accessKey } from './access-key.js';
import { ffmpegCommand, gstreamerCommand, whipUrl } from './addresses.js';
import { isBroadcastName } from './broadcast-name.js';
import { chooseSend } from './choose-send.js';
import { CopyField } from './copy-field.js';
import { h } from './dom.js';
import { isLocalAddress } from './local-address.js';

const HIDDEN = '••••••••';
const PROGRAMS = /** @type {const} */ ([
  ['obs', 'OBS'],
  ['ffmpeg', 'FFmpeg'],
  ['gstreamer', 'GStreamer'],
]);
/** @typedef {typeof PROGRAMS[number][0]} Program */

/** How another program publishes under the channel's name: address, token, and what to enter or type. */
export class ProgramPanel {
  #root;
  #store;
  /** @type {PublishSettings | undefined} */
  #settings;
  /** @type {Program} */
  #program = 'obs';
  #tokenShown = false;
  #server = new CopyField('Server (WHIP)', {
    hint: isLocalAddress() ? 'Only programs on this computer reach this address.' : '',
  });
  #token = new CopyField('Bearer token', {
    secret: true,
    hint: 'It is the right to publish under this name. Kept in this browser.',
    onShow: (shown) => {
      this.#tokenShown = shown;
      this.#render();
    },
  });
  #command = new CopyField('Command', { multiline: true });
  #steps = h('ol', { class: 'program-steps' });
  #missing = h('p', { class: 'muted' }, 'Enter a channel name first.');
  #body = h('div', { class: 'fold-body' });

  /** @param {HTMLDetailsElement} root closed: no token is made before someone asks for it @param {PageStore} store */
  constructor(root, store) {
    this.#root = root;
    this.#store = store;
    this.#body.append(this.#server.element, this.#token.element, this.#choice(), this.#steps, this.#command.element);
    root.append(this.#missing, this.#body);
    root.addEventListener('toggle', () => this.#render());
  }

  /** @param {PublishSettings} settings */
  show(settings) {
    this.#settings = settings;
    this.#render();
  }

  #choice() {
    const group = h('div', { class: 'choices choices-3', role: 'radiogroup', 'aria-label': 'Program' });
    for (const [program, label] of PROGRAMS) {
      const input = h('input', { type: 'radio', name: 'program', value: program, class: 'visually-hidden' });
      input.checked = program === this.#program;
      input.addEventListener('change', () => {
        this.#program = program;
        this.#render();
      });
      group.append(h('label', {}, input, h('span', {}, label)));
    }
    return group;
  }

  #render() {
    const settings = this.#settings;
    if (!this.#root.open || settings === undefined) return;
    const known = isBroadcastName(settings.name);
    this.#missing.hidden = known;
    this.#body.hidden = !known;
    if (!known) return;
    const { name, maxBitrateBps } = settings;
    const height = heightFor(settings);
    // A server that asks for a key asks a program for it, too.
    const token = accessKey() ?? this.#store.makeStreamKey(name);
    const url = whipUrl(name);
    this.#server.set(url);
    this.#token.set(token);
    this.#steps.hidden = this.#program !== 'obs';
    this.#command.element.hidden = this.#program === 'obs';
    this.#steps.replaceChildren(...obsSteps({ height, maxBitrateBps }).map((step) => h('li', {}, step)));
    if (this.#program === 'obs') return;
    const command = this.#program === 'ffmpeg' ? ffmpegCommand : gstreamerCommand;
    const shown = this.#tokenShown ? token : HIDDEN;
    this.#command.set(
      command({ url, token, height, maxBitrateBps }),
      command({ url, token: shown, height, maxBitrateBps }),
    );
    this.#command.setHint(
      this.#program === 'ffmpeg'
        ? 'FFmpeg 8 or later. The copy has the token.'
        : 'GStreamer with gst-plugins-rs. The copy has the token. Never tried against this server.',
    );
  }
}

/** Programs do not follow the line: where the page would, the size that was measured to be best at the limit. @param {PublishSettings} settings */
function heightFor({ auto, height, maxBitrateBps }) {
  if (!auto) return height;
  const upscalers = /** @type {const} */ ({ 180: 'nano', 360: 'nano-x2' });
  return chooseSend({ bitrateBps: maxBitrateBps, codecs: ['H264'], upscalers, content: 'camera' }).shortSide;
}

/** @param {{height: number, maxBitrateBps: number}} settings @returns {string[]} */
function obsSteps({ height, maxBitrateBps }) {
  const width = Math.round((height * 16) / 9);
  return [
    'Settings, Stream: Service “WHIP”; Server and Bearer Token from above.',
    `Settings, Video: Output (Scaled) Resolution ${width}x${height}, 30 FPS.`,
    `Settings, Output, Advanced: x264 or hardware H264, ${Math.round(maxBitrateBps / 1000)} Kbps, Keyframe Interval 1 s.`,
    'Start Streaming. The link for viewers is the same.',
  ];
}
