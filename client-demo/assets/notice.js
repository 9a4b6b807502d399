import { h } from './dom.js';
import { icon } from './icons.js';

/**
 * @typedef {object} NoticeContent
 * @property {'error' | 'warning' | 'info'} tone
 * @property {string} title
 * @property {string} [text]
 * @property {{label: string, run: () => void}} [action]
 */

/** One place for what a person has to know now; screen readers announce it. */
export class Notice {
  #root;
  #shown = '';

  /** @param {HTMLElement} root */
  constructor(root) {
    this.#root = root;
    root.setAttribute('role', 'status');
    root.setAttribute('aria-live', 'polite');
    root.hidden = true;
  }

  /** @param {NoticeContent} content */
  show({ tone, title, text, action }) {
    const key = JSON.stringify([tone, title, text, action?.label]);
    if (key === this.#shown) return;
    this.#shown = key;
    const body = h('div', { class: 'notice-text' }, h('strong', {}, title));
    if (text) body.append(h('span', {}, text));
    if (action) {
      const button = h('button', { type: 'button', class: 'link-button' }, action.label);
      button.addEventListener('click', action.run);
      body.append(button);
    }
    this.#root.dataset['tone'] = tone;
    this.#root.replaceChildren(icon(tone === 'info' ? 'info' : 'alert'), body);
    this.#root.hidden = false;
    if (tone === 'error') this.#root.scrollIntoView({ block: 'nearest' });
  }

  clear() {
    this.#shown = '';
    this.#root.hidden = true;
    this.#root.replaceChildren();
  }
}
