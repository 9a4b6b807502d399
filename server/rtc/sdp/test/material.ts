import { AppError } from '../../../errors.ts';
import type { LocalTransportParameters } from '../../transport-parameters.ts';
import { buildAnswer } from '../answer.ts';
import { parseOffer } from '../offer.ts';
import { planPublisher, type PublisherLimits } from '../publisher-plan.ts';
import { planViewer } from '../viewer-plan.ts';

const LOCAL: LocalTransportParameters = {
  usernameFragment: 'abcd',
  password: 'abcdefghijklmnopqrstuv',
  fingerprint: 'AA:BB',
  setup: 'passive',
  candidates: ['candidate:1 1 udp 1 127.0.0.1 5000 typ host'],
  gatheringComplete: true,
};
const SESSION = { id: '1', version: 1 };
const LIMITS: PublisherLimits = { startBitrateBps: 1_500_000, maxBitrateBps: undefined };
export const HD = { width: 1280, height: 720 };

/** What the server does with a publisher's offer, up to the answer's text. */
export function publish(sdp: string, limits = LIMITS) {
  const offer = parseOffer(sdp);
  const plan = planPublisher(offer, limits);
  return { plan, answer: buildAnswer(offer, plan.answer, LOCAL, SESSION) };
}

/** What the server does with a viewer's offer. */
export function watch(sdp: string, size = HD) {
  return planViewer(parseOffer(sdp), size);
}

/** @returns code and message of the AppError, or `no error`; anything else thrown is a defect */
export function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof AppError) return `${error.code}: ${error.message}`;
    throw error;
  }
  return 'no error';
}
