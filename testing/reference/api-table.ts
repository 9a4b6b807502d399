import { apiRoutes } from '../../server/http/api/register.ts';
import type { ApiServices } from '../../server/http/api/services.ts';

const BEGIN = '<!-- routes: made from server/http/api by `npm run docs` -->';
const END = '<!-- end of routes -->';

/** docs/admin.md with its table of routes made from the API's own; the rest of the page is kept. */
export function withApiTable(page: string): string {
  const begin = page.indexOf(BEGIN);
  const end = page.indexOf(END);
  if (begin < 0 || end < begin) throw new Error(`docs/admin.md has no place for its table: ${BEGIN} … ${END}`);
  // Routes are only described here: no service is asked for anything.
  const rows = apiRoutes({ jobs: {} } as ApiServices, { folder: '' }).map(({ method, url, summary, description }) => {
    const words = description === undefined ? summary : `${summary}. ${description}`;
    return `| \`${method} ${url.replaceAll(/:(\w+)/g, '{$1}')}\` | ${words.replaceAll('|', '\\|')} |`;
  });
  return [
    page.slice(0, begin) + BEGIN,
    '',
    '| request | what it does |',
    '| --- | --- |',
    ...rows,
    '',
    page.slice(end),
  ].join('\n');
}
