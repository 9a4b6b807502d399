import { AppError } from '../../errors.ts';

/** What replaces an entry has its name. @throws AppError request.malformed */
export function requireSameName(body: { readonly name: string }, params: { readonly name: string }): void {
  if (body.name === params.name) return;
  throw new AppError('request.malformed', `name: "${body.name}" is not that of the address, "${params.name}".`);
}
