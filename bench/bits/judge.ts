/** How good the page's choice is on clips, best those that its table was not made from: against the best way of sending there is. */
import { chooseSend, upscalersOf } from '../../client-demo/assets/choose-send.js';
import { LEAST_SHARE } from '../../client-demo/assets/dropped-pictures.js';
import type { SourceCodec } from '../../server/media/types.ts';
import { markdownTable } from '../table.ts';
import { valueAt, type Curve } from './curves.ts';

export interface Judgement {
  clip: string;
  codecs: readonly SourceCodec[];
  kbps: number;
  /** As the table says, and the page settles on. */
  choice: string;
  /** Of the choice on this clip; undefined where its encoder does not come down to the rate here. */
  psnrDb: number | undefined;
  /** The best way on this clip, among the same codecs and models, and how much better it is. */
  best: string;
  bestDb: number;
}

export const JUDGED_KBPS = [40, 60, 100, 150, 300, 600];

/** The server that is judged. */
const UPSCALERS = upscalersOf({ superResolution: true, label: 'nano x4', scale: 4 });

const nameOf = ({
  codec,
  shortSide,
  framesPerSecond,
}: Pick<Curve, 'codec' | 'shortSide' | 'framesPerSecond'>): string =>
  `${codec} ${shortSide}p${framesPerSecond === 30 ? '' : ` ${framesPerSecond} fps`}`;

/** @param mine ways of sending this clip */
function choiceOf(request: Parameters<typeof chooseSend>[0], mine: readonly Curve[]): string {
  try {
    const choice = chooseSend(request);
    return nameOf(request.content === 'camera' ? settled(choice, mine, request.bitrateBps / 1000) : choice);
  } catch (error) {
    if (error instanceof RangeError) return 'not in the table';
    throw error;
  }
}

/** The page goes to the next smaller size while the encoder leaves pictures out, which is where it does not come down to the rate, too. */
function settled(choice: ReturnType<typeof chooseSend>, mine: readonly Curve[], kbps: number): typeof choice {
  const { codec, shortSide, framesPerSecond } = choice;
  const same = mine.filter((curve) => curve.codec === codec && curve.framesPerSecond === framesPerSecond);
  const curve = same.find((one) => one.shortSide === shortSide);
  const shown = curve === undefined ? 0 : (valueAt(curve.points, kbps, 'shownFps') ?? 0);
  if (shown >= framesPerSecond * LEAST_SHARE) return choice;
  const smaller = Math.max(...same.map((one) => one.shortSide).filter((side) => side < shortSide));
  return smaller > 0 ? settled({ ...choice, shortSide: smaller }, mine, kbps) : choice;
}

/**
 * Senders with one codec, and one with all that were measured.
 *
 * @param curves of one goal; of each clip, those that the server's models and the content allow count
 */
export function judge(curves: readonly Curve[]): Judgement[] {
  const all = [...new Set(curves.map(({ codec }) => codec))];
  const sets = [...all.map((codec) => [codec]), ...(all.length > 1 ? [all] : [])];
  const clips = [...new Set(curves.map(({ clip }) => clip))];
  return clips.flatMap((clip) =>
    sets.flatMap((codecs) =>
      JUDGED_KBPS.flatMap((kbps) => {
        const mine = curves.filter(
          (curve) =>
            curve.clip === clip &&
            codecs.includes(curve.codec) &&
            curve.upscaler === (curve.content === 'screen' ? 'resize' : (UPSCALERS[curve.shortSide] ?? 'resize')) &&
            (curve.content === 'camera' || curve.shortSide >= 360),
        );
        const known = mine.flatMap((curve) => {
          const psnrDb = valueAt(curve.points, kbps);
          return psnrDb === undefined ? [] : [{ curve, psnrDb }];
        });
        const [first] = known;
        if (first === undefined) return [];
        const best = known.reduce((a, b) => (b.psnrDb > a.psnrDb ? b : a), first);
        const { content, goal } = first.curve;
        const choice = choiceOf({ bitrateBps: kbps * 1000, codecs, upscalers: UPSCALERS, content, goal }, mine);
        const psnrDb = known.find(({ curve }) => nameOf(curve) === choice)?.psnrDb;
        return [{ clip, codecs, kbps, choice, psnrDb, best: nameOf(best.curve), bestDb: best.psnrDb }];
      }),
    ),
  );
}

/** One line a clip and set of codecs; in a cell the choice, its dB, and what the best way has more. */
export function judgementTable(judgements: readonly Judgement[]): string {
  const keyOf = ({ clip, codecs }: Judgement): string => `${clip}: ${codecs.join(', ')}`;
  const body = [...new Set(judgements.map(keyOf))].map((key) => {
    const cells = JUDGED_KBPS.map((kbps) => {
      const one = judgements.find((judgement) => keyOf(judgement) === key && judgement.kbps === kbps);
      if (one === undefined) return '-';
      if (one.psnrDb === undefined)
        return `${one.choice}: not at this rate here; best ${one.best} ${one.bestDb.toFixed(1)}`;
      const loss = one.bestDb - one.psnrDb;
      return `${one.choice} ${one.psnrDb.toFixed(1)}${loss < 0.05 ? '' : ` (${one.best} +${loss.toFixed(1)})`}`;
    });
    return [key, ...cells];
  });
  return markdownTable([['clip: codecs', ...JUDGED_KBPS.map((kbps) => `${kbps} kbit/s`)], ...body]);
}
