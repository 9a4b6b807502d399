/** An address of the web or another protocol, as opposed to a path: `c:\x.mp4` and `2024-05-04T10:11:12.mp4` are paths. */
export function isAddress(input: string): boolean {
  return /^[a-z][a-z0-9+.-]+:\/\//i.test(input);
}
