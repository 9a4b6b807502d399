import { h, setText } from './dom.js';

/** How long the button asks for the second click before it goes back to its own text. */
const ASKS_MS = 4000;

/**
 * A button for what cannot be taken back: the first click asks, the second one does it.
 * @param {string} label
 * @param {string} question
 * @param {() => void} run
 */
export function confirmButton(label, question, run) {
  const button = h('button', { type: 'button', class: 'secondary' }, label);
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let asking;
  const rest = () => {
    clearTimeout(asking);
    asking = undefined;
    setText(button, label);
    delete button.dataset['asks'];
  };
  button.addEventListener('click', () => {
    if (asking === undefined) {
      setText(button, question);
      button.dataset['asks'] = '';
      asking = setTimeout(rest, ASKS_MS);
      return;
    }
    rest();
    run();
  });
  return button;
}
