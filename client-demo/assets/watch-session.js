/** @import {Overlay} from './compare-view.js' */
/** @import {LinkState} from './peer-link.js' */
/** @import {SignalingClient} from './signaling-client.js' */
/** @import {BroadcastStats, SessionState} from '../../server/signaling/protocol.ts' */
/** @import {ServerStatus} from './server-status.js' */
/** @import {StatsPanel} from './stats-panel.js' */
/** @import {Tracks} from './viewer.js' */
import { h } from './dom.js';
import { Listeners } from './listeners.js';
import { Viewer } from './viewer.js';

/** On air already: what is missing is the way back to this page. */
const LOADING = 'Loading what viewers see';
const AUTOMATIC = 'No action needed; reconnecting automatically.';

/**
 * Where the picture is shown: the comparing player, or the bare one of an embedded page.
 * @typedef {object} WatchView
 * @property {{result: HTMLVideoElement}} videos
 * @property {number | undefined} lagMs
 * @property {boolean} showsSource
 * @property {Listeners<boolean>} onShowsSource
 * @property {(tracks: Tracks) => void} prepareTracks
 * @property {() => void} startLive
 * @property {(overlay: Overlay | undefined) => void} setOverlay
 * @property {(source: BroadcastStats['source'], output: BroadcastStats['output'], model: BroadcastStats['model'], addedMs: number) => void} setFacts
 * @property {(present: boolean) => void} setAudioPresent
 */

/** One watched broadcast on a page: brings a Viewer's news into the stage and the figures. */
export class WatchSession {
  #name;
  #viewer;
  #view;
  #stats;
  #status;
  /** @type {SessionState} */
  #broadcast = 'waiting';
  #playing = false;
  #wasPlaying = false;
  #waitingSinceMs = Date.now();
  #own;
  #alone;
  #detach;
  #timer;

  /** True while a moving picture of the server is shown. @type {Listeners<boolean>} */
  onPlaying = new Listeners();
  /** @type {Listeners<SessionState>} */
  onBroadcast = new Listeners();
  /** What the server adds to the way of a picture, ms, once a second while live. @type {Listeners<number>} */
  onAddedMs = new Listeners();

  /**
   * @param {object} options
   * @param {SignalingClient} options.signaling
   * @param {string} options.name
   * @param {WatchView} options.view
   * @param {StatsPanel} [options.stats]
   * @param {ServerStatus} [options.status]
   * @param {boolean} [options.own] the broadcast of this page
   * @param {boolean} [options.alone] a page that leads nowhere else
   */
  constructor({ signaling, name, view, stats, status, own = false, alone = false }) {
    this.#own = own;
    this.#alone = alone;
    this.#status = status;
    this.#name = name;
    this.#view = view;
    this.#stats = stats;
    this.#viewer = new Viewer({ signaling, name, shown: { result: true, source: view.showsSource } });
    this.#detach = view.onShowsSource.add((source) => this.#viewer.show({ result: true, source }));
    this.#viewer.onTracks.add((tracks) => {
      this.#playing = false;
      view.prepareTracks(tracks);
      this.#awaitPicture(tracks.result);
    });
    this.#viewer.onState.add(({ kind }) => {
      if (kind === 'offline') this.#clearFigures();
      this.#render();
    });
    this.#viewer.onBroadcastState.add(({ state }) => {
      if (state === 'waiting' && this.#broadcast !== 'waiting') this.#waitingSinceMs = Date.now();
      if (state !== 'live') this.#clearFigures();
      this.#broadcast = state;
      this.onBroadcast.emit(state);
      this.#render();
    });
    this.#viewer.onStats.add(({ broadcast, viewer }) => {
      if (this.#broadcast !== 'live') return;
      stats?.update({ broadcast, ...(viewer === undefined ? {} : { viewer }) });
      view.setFacts(broadcast.source, broadcast.output, broadcast.model, broadcast.addedLatencyMs.p50);
      view.setAudioPresent(broadcast.audio.present);
      if (broadcast.output.width === 0) return;
      status?.showModel(broadcast.model);
      this.onAddedMs.emit(broadcast.addedLatencyMs.p50);
    });
    this.#viewer.onDownlink.add((downlink) => {
      if (this.#broadcast !== 'live') return;
      const lagMs = view.lagMs;
      stats?.update({ downlink, ...(lagMs === undefined ? {} : { lagMs }) });
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
    this.#detach();
    this.#viewer.close();
    this.#clearFigures();
    this.#view.setOverlay(undefined);
  }

  /** Old figures would look like present ones. */
  #clearFigures() {
    this.#stats?.clear();
    this.#status?.showModel(undefined);
  }

  /** @param {MediaStream} stream the picture counts as playing once a frame of it was shown */
  #awaitPicture(stream) {
    const { result } = this.#view.videos;
    const shown = () => {
      if (result.srcObject !== stream) return;
      if (this.#playing) return;
      this.#playing = true;
      this.#wasPlaying = true;
      this.#view.startLive();
      this.#render();
    };
    // Whichever comes first: a covered video may be left out by the compositor.
    if ('requestVideoFrameCallback' in result) result.requestVideoFrameCallback(shown);
    result.addEventListener('timeupdate', shown, { once: true });
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
        return { title: 'Connection lost', text: AUTOMATIC, busy: true };
      case 'interrupted':
        return { title: 'The connection is interrupted', text: AUTOMATIC, busy: true };
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
        return { title: this.#own ? LOADING : 'Connecting', busy: true };
    }
  }

  /** @returns {Overlay | undefined} */
  #describeBroadcast() {
    if (this.#broadcast === 'paused') {
      if (this.#own) return { title: 'Paused', text: 'Viewers see no video until you resume.' };
      return { title: 'Paused', text: 'No video is arriving from the broadcaster.' };
    }
    if (this.#broadcast === 'waiting' && !this.#own) {
      const title = this.#wasPlaying ? `“${this.#name}” has gone off air` : `“${this.#name}” is not live`;
      const since = new Date(this.#waitingSinceMs).toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' });
      const text = `Waiting since ${since}. The picture starts here by itself.`;
      if (this.#alone) return { title, text };
      return { title, text, extra: h('a', { class: 'link-button', href: '/' }, 'See what is live') };
    }
    return this.#playing ? undefined : { title: this.#own ? LOADING : 'Waiting for the first picture', busy: true };
  }
}
