/** @import {CompareView, Overlay} from './compare-view.js' */
/** @import {LinkState} from './peer-link.js' */
/** @import {SignalingClient} from './signaling-client.js' */
/** @import {StatsPanel} from './stats-panel.js' */
/** @import {SessionState} from '../../server/signaling/protocol.ts' */
import { Listeners } from './listeners.js';
import { Viewer } from './viewer.js';

/** One watched broadcast on a page: brings a Viewer's news into the stage and the figures. */
export class WatchSession {
  #name;
  #viewer;
  #view;
  #stats;
  /** @type {SessionState} */
  #broadcast = 'waiting';
  #reason = '';
  #playing = false;
  #wasPlaying = false;
  #timer;

  /** True while a moving picture of the server is shown. @type {Listeners<boolean>} */
  onPlaying = new Listeners();

  /**
   * @param {object} options
   * @param {SignalingClient} options.signaling
   * @param {string} options.name
   * @param {CompareView} options.view
   * @param {StatsPanel} options.stats
   */
  constructor({ signaling, name, view, stats }) {
    this.#name = name;
    this.#view = view;
    this.#stats = stats;
    this.#viewer = new Viewer({ signaling, name, source: true });
    this.#viewer.onTracks.add((tracks) => {
      this.#playing = false;
      view.showTracks(tracks);
      this.#awaitPicture(tracks.result);
    });
    this.#viewer.onState.add(() => this.#render());
    this.#viewer.onBroadcastState.add(({ state, reason }) => {
      this.#broadcast = state;
      this.#reason = reason;
      // Old figures would look like present ones.
      if (state === 'waiting') stats.clear();
      this.#render();
    });
    this.#viewer.onStats.add(({ broadcast, viewer }) => {
      if (this.#broadcast === 'waiting') return;
      stats.update({ broadcast, ...(viewer === undefined ? {} : { viewer }) });
      view.setFacts(broadcast.source, broadcast.output, broadcast.model, broadcast.addedLatencyMs.p50);
      view.setAudioPresent(broadcast.audio.present);
    });
    this.#viewer.onDownlink.add((downlink) => {
      if (this.#broadcast === 'waiting') return;
      const lagMs = view.lagMs;
      stats.update({ downlink, ...(lagMs === undefined ? {} : { lagMs }) });
    });
    // "Trying again in 3 s" counts down.
    this.#timer = setInterval(() => {
      if (this.#viewer.state.kind === 'waiting') this.#render();
    }, 1000);
  }

  start() {
    this.#viewer.start();
    this.#render();
  }

  close() {
    clearInterval(this.#timer);
    this.#viewer.close();
    this.#stats.clear();
    this.#view.setOverlay(undefined);
  }

  /** @param {MediaStream} stream the picture counts as playing once a frame of it was shown */
  #awaitPicture(stream) {
    const { result } = this.#view.videos;
    const shown = () => {
      if (result.srcObject !== stream) return;
      this.#playing = true;
      this.#wasPlaying = true;
      this.#render();
    };
    if ('requestVideoFrameCallback' in result) result.requestVideoFrameCallback(shown);
    else /** @type {HTMLVideoElement} */ (result).addEventListener('timeupdate', shown, { once: true });
  }

  #render() {
    const overlay = this.#describe(this.#viewer.state);
    this.#view.setOverlay(overlay);
    this.onPlaying.emit(overlay === undefined);
  }

  /** What covers the picture, if anything has to be said. @param {LinkState} link @returns {Overlay | undefined} */
  #describe(link) {
    switch (link.kind) {
      case 'offline':
        return { title: 'Connection lost', text: 'The page reconnects by itself.', busy: true };
      case 'interrupted':
        return { title: 'The line is interrupted', text: 'Looking for a new path to the server.', busy: true };
      case 'waiting': {
        const seconds = Math.max(1, Math.ceil((link.retryAtMs - Date.now()) / 1000));
        return { title: link.error.message, text: `Trying again in ${seconds} s. ${link.error.remedy}`, busy: true };
      }
      case 'failed':
        return { title: link.error.message, text: link.error.remedy };
      case 'closed':
        return undefined;
      case 'connected':
        return this.#describeBroadcast();
      default:
        return { title: 'Connecting', busy: true };
    }
  }

  /** @returns {Overlay | undefined} */
  #describeBroadcast() {
    if (this.#broadcast === 'paused') {
      return { title: 'Paused', text: this.#reason || 'The publisher sends no picture right now.' };
    }
    if (this.#broadcast === 'waiting') {
      const title = this.#wasPlaying ? `“${this.#name}” has gone off air` : `“${this.#name}” is not live yet`;
      return { title, text: 'The picture starts here as soon as it is on air.', busy: true };
    }
    return this.#playing ? undefined : { title: 'Waiting for the first picture', busy: true };
  }
}
