import { copyOnClick, h, setText } from './dom.js';
import { icon, setIcon } from './icons.js';

let count = 0;

/** A text to take along: read, select, copy; a secret is shown on request only. */
export class CopyField {
  #input;
  #hint;
  #value = '';
  /** What is shown in place of the value. @type {string | undefined} */
  #masked;

  /**
   * @param {string} label
   * @param {object} [options]
   * @param {string} [options.hint]
   * @param {boolean} [options.multiline] a command
   * @param {boolean} [options.secret]
   * @param {(shown: boolean) => void} [options.onShow] the person shows or hides the secret
   */
  constructor(label, { hint = '', multiline = false, secret = false, onShow } = {}) {
    count += 1;
    const [id, hintId] = [`copy-${count}`, `copy-hint-${count}`];
    const attributes = { id, class: 'link-text', readonly: true, spellcheck: 'false', 'aria-describedby': hintId };
    this.#input = multiline
      ? h('textarea', { ...attributes, rows: '6' })
      : h('input', { ...attributes, type: secret ? 'password' : 'text', autocomplete: 'off' });
    this.#input.addEventListener('focus', () => this.#input.select());
    const copy = h('button', { type: 'button', class: 'icon-button', title: 'Copy' }, icon('copy'));
    copy.setAttribute('aria-label', `Copy: ${label}`);
    copyOnClick(copy, () => this.#value);
    const buttons = h('span', { class: 'copy-buttons' }, copy);
    if (secret) buttons.prepend(this.#showButton(label, onShow));
    this.#hint = h('small', { class: 'hint', id: hintId, hidden: hint === '' }, hint);
    this.element = h(
      'div',
      { class: 'field copy-field' },
      h('label', { class: 'field-name', for: id }, label),
      h('div', { class: multiline ? 'copy-line multiline' : 'copy-line' }, this.#input, buttons),
      this.#hint,
    );
  }

  /** @param {string} value what is copied @param {string} [masked] what is shown instead */
  set(value, masked) {
    this.#value = value;
    this.#masked = masked;
    this.#input.value = this.#masked ?? value;
  }

  /** @param {string} hint */
  setHint(hint) {
    this.#hint.hidden = hint === '';
    setText(this.#hint, hint);
  }

  /** @param {string} label @param {((shown: boolean) => void) | undefined} onShow */
  #showButton(label, onShow) {
    const show = h(
      'button',
      { type: 'button', class: 'icon-button', title: 'Show', 'aria-pressed': 'false' },
      icon('shown'),
    );
    show.setAttribute('aria-label', `Show: ${label}`);
    show.addEventListener('click', () => {
      const shown = show.getAttribute('aria-pressed') !== 'true';
      show.setAttribute('aria-pressed', String(shown));
      this.#input.setAttribute('type', shown ? 'text' : 'password');
      setIcon(show, 'shown');
      onShow?.(shown);
    });
    return show;
  }
}
