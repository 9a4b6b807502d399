import { describeSettings } from '../../server/config/config.ts';

const BEGIN = '<!-- settings: made from server/config/sections by `npm run docs` -->';
const END = '<!-- end of settings -->';

/** docs/operations.md with its table of settings made from the schemas; the rest of the page is kept. */
export function withSettingsTable(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`docs/operations.md has no place for its table: ${BEGIN} … ${END}`);
  return [page.slice(0, begin) + BEGIN, '', ...table(), '', page.slice(end)].join('\n');
}

function table(): string[] {
  const rows = describeSettings().flatMap(({ settings }) =>
    settings.map(({ key, defaultText, meaning, choices }) => {
      const words = choices.length === 0 ? meaning : `${meaning}; one of ${choices.join(', ')}`;
      return `| \`${key}\` | ${cell(defaultText ?? 'none')} | ${cell(words)} |`;
    }),
  );
  return ['| key | default | meaning |', '| --- | --- | --- |', ...rows];
}

function cell(text: string): string {
  return text.replaceAll('|', '\\|');
}
