/**
 * The address that RTMP's `connect` carries as `tcUrl` (Adobe's RTMP 7.2.1.1): the server and the application, without the
 * stream's name. What counts as the application is what libavformat sends as `app`: the first part of the path, or the first two
 * when a third follows; `ondemand` alone; a part with a colon (`mp4:film`) begins the name.
 */
export function rtmpTcUrl({ protocol, host, pathname }: URL): string {
  const [, application = ''] = /^\/(ondemand(?=\/)|[^/]*(?:\/[^/:]*(?=\/))?)/.exec(pathname) ?? [];
  return `${protocol}//${host}/${application}`;
}
