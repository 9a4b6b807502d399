/**
 * @typedef {object} KeyActions
 * @property {() => boolean} enabled
 * @property {() => void} fullScreen
 * @property {() => void} mute
 * @property {() => void} play
 * @property {() => void} picture
 * @property {(step: number) => void} volume
 */

/** Keys of a player: f, m, space, p anywhere on the page, up and down in the player alone, where nothing scrolls by them. */
export class PlayerKeys {
  /** @param {HTMLElement} player @param {KeyActions} actions */
  constructor(player, actions) {
    document.addEventListener('keydown', (event) => {
      if (!actions.enabled() || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      const target = event.target instanceof Element ? event.target : document.body;
      const act = actionOf(event.key, target, player, actions);
      if (act === undefined) return;
      event.preventDefault();
      act();
    });
  }
}

/** @param {string} key @param {Element} target @param {Element} player @param {KeyActions} actions */
function actionOf(key, target, player, actions) {
  if (target.matches('input[type=text], textarea, select, [contenteditable]')) return undefined;
  switch (key) {
    case 'f':
      return actions.fullScreen;
    case 'm':
      return actions.mute;
    case 'p':
      return actions.picture;
    case ' ':
      // On a control the space bar is the control's own.
      return target.matches('button, a, summary, input:not(.wipe-range)') ? undefined : actions.play;
    case 'ArrowUp':
    case 'ArrowDown': {
      const own = target.matches('input:not(.wipe-range)') || !(player.contains(target) || document.fullscreenElement);
      return own ? undefined : () => actions.volume(key === 'ArrowUp' ? 0.1 : -0.1);
    }
    default:
      return undefined;
  }
}
