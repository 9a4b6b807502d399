import type { WireError } from '../wire-error.ts';

/** A person follows links to pages that do not exist; a program reads JSON. */
export interface AddressError extends WireError {
  readonly status: number;
}

/** RFC 9110 section 12.5.1: a browser names text/html when it loads a page; fetch() and command lines do not. */
export function wantsHtml(method: string, accept: string | undefined): boolean {
  return (method === 'GET' || method === 'HEAD') && /(?:^|[\s,])text\/html\s*(?:[,;]|$)/i.test(accept ?? '');
}

/** The error as a page: what happened, what to do, and the way to the start page. */
export function errorPage({ status, message, remedy }: AddressError): string {
  const [title, text] = wording(status, message, remedy);
  return `<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8" />
    <meta name="viewport" content="width=device-width, initial-scale=1" />
    <meta name="color-scheme" content="light dark" />
    <meta name="robots" content="noindex" />
    <title>${escaped(title)} · FlashVSR Live</title>
    <link rel="icon" href="/assets/icon.svg" type="image/svg+xml" />
    <link rel="stylesheet" href="/assets/base.css" />
    <link rel="stylesheet" href="/assets/controls.css" />
  </head>
  <body>
    <header class="top">
      <a class="brand" href="/"><img src="/assets/icon.svg" alt="" width="32" height="32" />FlashVSR <b>Live</b></a>
    </header>
    <main class="error-page">
      <p class="error-status">${status}</p>
      <h1>${escaped(title)}</h1>
      <p>${escaped(text)}</p>
      <p><a class="button-link" href="/">See what is live</a></p>
    </main>
  </body>
</html>
`;
}

function wording(status: number, message: string, remedy: string): readonly [title: string, text: string] {
  if (status === 404) return ['This page does not exist', 'Check the address, or ask for the link again.'];
  if (status === 400)
    return ['This address is damaged', 'Part of the link is missing or was changed. Ask for it again.'];
  if (status === 414) return ['This address is too long', 'No broadcast has a name of this length.'];
  return [message, remedy];
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
