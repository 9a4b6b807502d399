import { browserSourceUrl, embedCode, whepUrl } from './addresses.js';
import { CopyField } from './copy-field.js';
import { formatMs } from './format.js';
import { isLocalAddress } from './local-address.js';

/** Ways to take a broadcast elsewhere: a frame, OBS and its virtual camera, players that speak WHEP. */
export class SharePanel {
  #embed = new CopyField('Embed in a site', {
    hint: `Works on sites that this server’s operator allows${isLocalAddress() ? ' (http.embedOrigins)' : ''}.`,
  });
  #source = new CopyField('As a webcam, or in a scene');
  #whep = new CopyField('For players (WHEP)');

  /** @param {HTMLElement} root */
  constructor(root) {
    root.append(this.#source.element, this.#embed.element, this.#whep.element);
    this.showDelay(0);
  }

  /** @param {string} name @param {string} [key] of a link for viewers */
  show(name, key) {
    this.#embed.set(embedCode(name, location.origin, key));
    this.#source.set(browserSourceUrl(name, location.origin, key));
    this.#whep.set(whepUrl(name));
    const token = key === undefined ? '' : 'Its bearer token is what stands behind “#key=” in the link. ';
    this.#whep.setHint(`${token}With ?track=source: the original.`);
  }

  /** @param {number} ms what the server adds to the way of a picture; 0 while it is not known */
  showDelay(ms) {
    const delay = ms > 0 ? ` The server adds ${formatMs(ms)}, sound included.` : '';
    this.#source.setHint(`Browser source of OBS, then “Start Virtual Camera”.${delay}`);
  }
}
