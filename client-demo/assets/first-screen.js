/** @import {ModelSummary} from '../../server/signaling/protocol.ts' */
/** @import {CompareView} from './compare-view.js' */
import { byId, setText } from './dom.js';
import { formatModel } from './format.js';

/** What the first screen compares: a frame of the sample clip, and what `nano`, the default without a GPU, makes of it. */
const EXAMPLE_MODEL = 'nano x4';
const EXAMPLE = /** @type {const} */ ([
  { src: '/assets/sample-sent.jpg', label: 'You upload 320×180' },
  { src: '/assets/sample-result.jpg', label: 'Viewers watch 1280×720' },
]);

/** What stands in the place of the picture until a preview or a broadcast begins. */
export class FirstScreen {
  #view;

  /** @param {CompareView} view */
  constructor(view) {
    this.#view = view;
  }

  show() {
    document.body.dataset['screen'] = 'first';
    this.#view.setOverlay(undefined);
    this.#view.showExample(...EXAMPLE);
  }

  leave() {
    document.body.dataset['screen'] = 'stream';
  }

  /** Says so when this server's model is not the example's. @param {ModelSummary} model */
  nameModel({ label, scale }) {
    const note = byId('example-note', HTMLElement);
    note.hidden = label === EXAMPLE_MODEL;
    setText(note, `The example is by ${formatModel(EXAMPLE_MODEL, 4)}; this server runs ${formatModel(label, scale)}.`);
  }
}
