/** The name that stands for standard input, as an input, and standard output, as a result. A file of this name is `./-`. */
export const STANDARD = '-';

/** For sentences. */
export function inputLabel(name: string): string {
  return name === STANDARD ? 'standard input' : name;
}

/** For sentences. */
export function outputLabel(name: string): string {
  return name === STANDARD ? 'standard output' : name;
}
