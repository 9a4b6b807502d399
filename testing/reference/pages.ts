import { readFileSync } from 'node:fs';
import { format, resolveConfig } from 'prettier';
import { withApiTable } from './api-table.ts';
import { consumerCardsPage } from './consumer-cards-page.ts';
import { errorsPage } from './errors-page.ts';
import { protocolPage } from './protocol-page.ts';
import { withSettingsTable } from './settings-table.ts';

/** Documents that are made from the code, in whole or in part, by path: `npm run docs` writes them, a test holds them. */
export async function referencePages(): Promise<ReadonlyMap<string, string>> {
  const [operations, admin] = ['operations', 'admin'].map((name) =>
    readFileSync(new URL(`../../docs/${name}.md`, import.meta.url), 'utf8'),
  );
  const pages = {
    'docs/consumer-cards.md': consumerCardsPage(),
    'docs/errors.md': errorsPage(),
    'docs/protocol.md': protocolPage(),
    'docs/operations.md': withSettingsTable(operations ?? ''),
    'docs/admin.md': withApiTable(admin ?? ''),
  };
  const formatted = Object.entries(pages).map(async ([path, text]): Promise<[string, string]> => {
    const config = await resolveConfig(path);
    return [path, await format(text, { ...config, filepath: path })];
  });
  return new Map(await Promise.all(formatted));
}
