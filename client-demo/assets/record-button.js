/** @import {PlayerBar} from './player-bar.js' */
/** @import {RecorderNews} from './stream-recorder.js' */
import { h, setText } from './dom.js';
import { formatDuration } from './format.js';
import { icon, setIcon } from './icons.js';
import { StreamRecorder, canRecord, recordingName } from './stream-recorder.js';

/** Records the result as it is received, into files of this device. */
export class RecordButton {
  #name;
  #recorder;
  #button = h(
    'button',
    { type: 'button', class: 'icon-button record-button', 'aria-pressed': 'false' },
    icon('record'),
  );
  #clock = h('span', {}, '');
  #note = h('p', { class: 'rung-note record-note', role: 'status', hidden: true });
  #started = new Date();
  #playing = false;
  /** @type {ReturnType<typeof setInterval> | undefined} */
  #timer;
  /** @param {Event} event */
  #warn = (event) => event.preventDefault();

  /** @param {PlayerBar} bar @param {string} name of the broadcast */
  constructor(bar, name) {
    this.#name = name;
    this.#recorder = new StreamRecorder({
      video: bar.videos.result,
      hasSound: () => bar.soundPresent,
      save: (file, number) => this.#save(file, number),
      onNews: (news) => this.#onNews(news),
    });
    this.#button.append(this.#clock);
    this.#button.hidden = !canRecord();
    this.#button.addEventListener('click', () => this.#toggle());
    bar.add(this.#button);
    bar.addNote(this.#note);
    this.#render();
  }

  /** @param {boolean} playing a recording goes on by itself when the picture comes back */
  setPlaying(playing) {
    this.#playing = playing;
    this.#render();
  }

  #toggle() {
    if (this.#recorder.recording) this.#recorder.stop();
    else {
      this.#started = new Date();
      this.#note.hidden = true;
      this.#recorder.start();
    }
    this.#render();
  }

  #render() {
    const { recording } = this.#recorder;
    const text = recording ? 'Stop recording and save' : 'Record the result';
    this.#button.disabled = !recording && !this.#playing;
    this.#button.setAttribute('aria-pressed', String(recording));
    this.#button.setAttribute('aria-label', text);
    this.#button.setAttribute('title', text);
    setIcon(this.#button, recording ? 'stop' : 'record');
    clearInterval(this.#timer);
    if (recording) {
      addEventListener('beforeunload', this.#warn);
      this.#timer = setInterval(() => this.#tick(), 1000);
    } else removeEventListener('beforeunload', this.#warn);
    this.#tick();
  }

  #tick() {
    const { recording } = this.#recorder;
    this.#clock.hidden = !recording;
    setText(this.#clock, recording ? formatDuration(Date.now() - this.#started.getTime()) : '');
  }

  /** @param {Blob} file @param {number} number */
  #save(file, number) {
    const url = URL.createObjectURL(file);
    h('a', { href: url, download: recordingName(this.#name, this.#started, number, file.type) }).click();
    setTimeout(() => URL.revokeObjectURL(url), 60_000);
  }

  /** @param {RecorderNews} news */
  #onNews(news) {
    this.#note.hidden = false;
    setText(this.#note, describe(news));
    this.#render();
  }
}

/** @param {RecorderNews} news */
function describe(news) {
  switch (news.kind) {
    case 'size':
      return `The picture is ${news.width}×${news.height} now: the recording goes on in another file.`;
    case 'gap':
      return 'The picture was away: the recording goes on in another file.';
    case 'sound':
      return 'There is sound now: the recording goes on in another file.';
    case 'long':
      return 'The file was full (1 GB): the recording goes on in another one.';
    case 'failed':
      return `This browser cannot record the picture. ${news.text}`.trim();
  }
}
