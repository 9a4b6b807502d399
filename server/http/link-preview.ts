/** Where an HTML page asks for the tags that messengers and social networks show with a link (ogp.me). */
export const PREVIEW_MARK = '<!-- link preview -->';

const IMAGE = '/assets/sample-result.jpg';
/** RFC 3986 section 3.2.2: a registered name, IPv4 or [IPv6], with an optional port. Anything else is not written into a page. */
const HOST = /^(?:[A-Za-z0-9.-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::\d{1,5})?$/;

export interface LinkPreview {
  readonly title: string;
  readonly description: string;
  readonly path: string;
  /** The Host field; previews need absolute addresses. */
  readonly host: string | undefined;
  readonly scheme: 'http' | 'https';
}

/** `title` and `path` hold no characters of HTML: both come from the grammar of broadcast names. */
export function withLinkPreview(html: string, { title, description, path, host, scheme }: LinkPreview): string {
  const known = host !== undefined && HOST.test(host);
  const tags: [property: string, content: string][] = [
    ['og:type', 'website'],
    ['og:site_name', 'FlashVSR Live'],
    ['og:title', title],
    ['og:description', description],
    ...(known ? ([['og:url', `${scheme}://${host}${path}`]] as [string, string][]) : []),
    ...(known ? ([['og:image', `${scheme}://${host}${IMAGE}`]] as [string, string][]) : []),
    ['twitter:card', 'summary_large_image'],
  ];
  const lines = tags.map(([property, content]) => {
    const attribute = property.startsWith('og:') ? 'property' : 'name';
    return `<meta ${attribute}="${property}" content="${content}" />`;
  });
  return html.replace(PREVIEW_MARK, lines.join('\n    '));
}
