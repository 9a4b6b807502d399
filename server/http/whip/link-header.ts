import type { IceServer } from '../../rtc/peers.ts';

/**
 * One Link line a server (RFC 9725 section 4.6). MediaMTX takes no other order of the parameters; OBS cuts the text at every
 * comma and semicolon, so a server with one of them, a quote or a character outside of ASCII in its fields is left out.
 */
export function iceServerLinks(servers: readonly IceServer[]): string[] {
  return servers.flatMap(({ urls, username, credential }) => {
    const fields = [urls, username ?? '', credential ?? ''];
    if (!fields.every((field) => /^[!#-+\--:=?-[\]-~]*$/.test(field))) return [];
    const link = `<${urls}>; rel="ice-server"`;
    if (username === undefined || credential === undefined) return [link];
    return [`${link}; username="${username}"; credential="${credential}"; credential-type="password"`];
  });
}
