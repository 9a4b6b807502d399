import { z } from 'zod';
import { placedOutput, requestedOutput } from '../../config/config.ts';
import { AppError } from '../../errors.ts';
import * as answers from './answers.ts';
import { route, type ApiRoute } from './route.ts';
import type { ApiServices } from './services.ts';
import { requireSameName } from './same-name.ts';

const named = z.strictObject({ name: z.string().regex(/^[A-Za-z0-9][A-Za-z0-9-]{0,31}$/, 'is no name of an output') });

export interface OutputRouteOptions extends Pick<ApiServices, 'outputs' | 'recordings' | 'checkTarget'> {
  /** `api.folder`, or what stands for it. */
  readonly folder: string;
}

/** Recordings, relays, HLS: those of the configuration and those that are made here. */
export function outputRoutes({ outputs, recordings, checkTarget, folder }: OutputRouteOptions): ApiRoute[] {
  const statusOf = (name: string) => {
    const found = outputs.list().find((each) => each.name === name);
    if (found === undefined) throw new AppError('output.unknown', `There is no output "${name}".`);
    return found;
  };
  const start = async (requested: z.output<typeof requestedOutput>) => {
    if ('url' in requested) await checkTarget(requested.url);
    outputs.start(placedOutput(requested, folder));
    return statusOf(requested.name);
  };
  return [
    route({
      id: 'listOutputs',
      method: 'GET',
      url: '/api/admin/outputs',
      summary: 'All outputs: what runs, what it has carried, why it failed',
      answer: answers.outputs,
      errors: [],
      handle: async () => ({ outputs: outputs.list() }),
    }),
    route({
      id: 'startOutput',
      method: 'POST',
      url: '/api/admin/outputs',
      summary: 'Start an output, or one again that was stopped',
      description:
        'An entry of `outputs` of the configuration without its paths: recordings and HLS lie in a folder below `api.folder`. It lasts until the process ends.',
      body: requestedOutput,
      answer: answers.output,
      status: 201,
      errors: ['output.exists', 'file.unwritable', 'target.refused'],
      handle: async ({ body }) => start(body),
    }),
    route({
      id: 'replaceOutput',
      method: 'PUT',
      url: '/api/admin/outputs/:name',
      summary: 'Change an output: the one of this name is stopped, and begins again',
      params: named,
      body: requestedOutput,
      answer: answers.output,
      errors: ['output.unknown', 'output.exists', 'file.unwritable', 'target.refused'],
      handle: async ({ params, body }) => {
        requireSameName(body, params);
        statusOf(params.name);
        if ('url' in body) await checkTarget(body.url);
        await outputs.stop(params.name);
        return start(body);
      },
    }),
    route({
      id: 'stopOutput',
      method: 'POST',
      url: '/api/admin/outputs/:name/stop',
      summary: 'Stop an output; its files are complete when the answer comes',
      description: 'It stays listed, and its recordings with it.',
      params: named,
      answer: answers.output,
      errors: ['output.unknown'],
      handle: async ({ params }) => {
        await outputs.stop(params.name);
        return statusOf(params.name);
      },
    }),
    route({
      id: 'removeOutput',
      method: 'DELETE',
      url: '/api/admin/outputs/:name',
      summary: 'Stop an output and forget it; its files stay on the disk',
      params: named,
      errors: ['output.unknown'],
      handle: async ({ params }) => outputs.remove(params.name),
    }),
    route({
      id: 'listRecordings',
      method: 'GET',
      url: '/api/admin/recordings',
      summary: 'The newest files of all recordings',
      answer: answers.recordings,
      errors: [],
      handle: async () => ({ recordings: await recordings.list() }),
    }),
  ];
}
