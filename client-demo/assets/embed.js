import { nameOfPath } from './broadcast-name.js';
import { byId } from './dom.js';
import { EmbedView, embedOptions } from './embed-view.js';
import { SignalingClient } from './signaling-client.js';
import { WatchSession } from './watch-session.js';

/** The player alone: /watch/<name>?embed=1, for frames of other sites and for browser sources. */
const name = nameOfPath(location.pathname);
const title = `${name} · FlashVSR Live`;
document.title = title;

const signaling = new SignalingClient();
const view = new EmbedView(byId('player', HTMLElement), embedOptions(location.search));
const session = new WatchSession({ signaling, name, view, alone: true });
session.onPlaying.add((playing) => {
  document.title = playing ? `Live: ${title}` : title;
});
signaling.connect();
session.start();
