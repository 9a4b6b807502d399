import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ChannelName } from '../assets/channel-name.js';

/** The page's form and its store, as far as the name goes. */
function page(kept: string) {
  const form = { settings: { name: kept }, setName: (name: string) => (form.settings.name = name) };
  const store = { save: vi.fn(), forgetResumeToken: vi.fn() };
  const channel = new ChannelName(store as never, form as never, { show: vi.fn() } as never);
  return { form, store, channel };
}

/** Another tab holds the lock: asking for it fails when this is called. */
let refuse = (): void => undefined;

beforeEach(() => {
  const asked = new Promise<never>((_, reject) => (refuse = () => reject(new Error('timed out'))));
  asked.catch(() => undefined);
  vi.stubGlobal('navigator', { locks: { request: () => asked } });
  vi.stubGlobal('location', { search: '' });
  vi.spyOn(performance, 'getEntriesByType').mockReturnValue([{ type: 'reload' } as never]);
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

it('suggests another name to a tab beside the one that is live under the kept name, for this tab alone', async () => {
  const { form, store, channel } = page('one');
  const claimed = channel.claim();
  refuse();
  await claimed;
  expect(form.settings.name).toMatch(/./);
  expect(form.settings.name).not.toBe('one');
  expect(store.save).toHaveBeenLastCalledWith(form.settings, { keepName: false });
});

it('leaves the name that was typed while the other tabs were asked', async () => {
  const { form, store, channel } = page('one');
  const claimed = channel.claim();
  form.setName('two');
  refuse();
  await claimed;
  expect(form.settings.name).toBe('two');
  expect(store.save).toHaveBeenLastCalledWith(form.settings, { keepName: true });
});
