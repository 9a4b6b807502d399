import { AV_LOG_INFO, AV_LOG_QUIET } from 'node-av/constants';
import { Log, type FormatContext } from 'node-av/lib';

/** A stretch of a film with a name, in seconds. */
export interface Chapter {
  readonly startSeconds: number;
  readonly endSeconds: number;
  /** Empty where it has none. */
  readonly title: string;
}

/** A film has some tens; a stranger's file may name any number. */
const MAX_CHAPTERS = 10_000;
/** The messages come from another thread; this is for a thread that hangs. */
const LIMIT_MS = 10_000;
const END = 'end of the description';

/**
 * The chapters that libav has found in an open file, whatever its format and wherever it comes from. node-av has no access to them;
 * libav's description of a file (av_dump_format) names them, by messages of its log. The log is the process's: one file at a time.
 */
export async function readChapters(format: FormatContext): Promise<Chapter[]> {
  const messages: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  await new Promise<void>((resolve) => {
    timer = setTimeout(resolve, LIMIT_MS);
    Log.setCallback(
      (_level, message) => {
        if (message.trimEnd() === END) resolve();
        else messages.push(message);
      },
      { maxLevel: AV_LOG_INFO },
    );
    Log.setLevel(AV_LOG_INFO);
    format.dumpFormat(0, '', false);
    Log.log(AV_LOG_INFO, END);
    Log.setLevel(AV_LOG_QUIET);
  });
  clearTimeout(timer);
  Log.resetCallback();
  return chaptersIn(messages);
}

/**
 * Messages as av_dump_format makes them: `    Chapter #0:1: `, `start 0.4, `, `end 1.0`, then `      Metadata:`, and for each entry
 * `        title           : ` and its value, a message for each line of it.
 */
export function chaptersIn(messages: readonly string[]): Chapter[] {
  const chapters: { startSeconds: number; endSeconds: number; title: string }[] = [];
  let entry: string | undefined;
  for (const message of messages) {
    const current = chapters.at(-1);
    if (/^ {2,4}Chapter #\d+:\d+: $/.test(message)) {
      if (chapters.length === MAX_CHAPTERS) return chapters;
      chapters.push({ startSeconds: NaN, endSeconds: NaN, title: '' });
      entry = undefined;
      continue;
    }
    // The streams come behind the chapters.
    if (/^ {2}(Stream|Program) #?\d/.test(message)) break;
    if (current === undefined) continue;
    const start = /^start (-?[\d.]+), $/.exec(message)?.[1];
    const end = /^end (-?[\d.]+)\n?$/.exec(message)?.[1];
    if (start !== undefined && Number.isNaN(current.startSeconds)) current.startSeconds = Number(start);
    else if (end !== undefined && Number.isNaN(current.endSeconds)) current.endSeconds = Number(end);
    else {
      const key = /^\n? {8}(\S*) *: $/.exec(message)?.[1];
      if (key === '' && entry === 'title') current.title += ' ';
      else if (key !== undefined) entry = key;
      else if (entry === 'title') current.title += message.replace(/\n$/, '');
    }
  }
  return chapters.filter(({ startSeconds, endSeconds }) => endSeconds >= startSeconds);
}

/** Moved on the film's clock; what is not between 0 and `lastSeconds` is left out. */
export function movedChapters(chapters: readonly Chapter[], bySeconds: number, lastSeconds = Infinity): Chapter[] {
  return chapters.flatMap(({ startSeconds, endSeconds, title }) => {
    const start = startSeconds + bySeconds;
    const end = Math.min(endSeconds + bySeconds, lastSeconds);
    return end > 0 && start < lastSeconds ? [{ startSeconds: Math.max(0, start), endSeconds: end, title }] : [];
  });
}
