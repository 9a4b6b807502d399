/** The room's door: what other rooms need of the configuration. */
export { describeSettings, type SectionDescription, type SettingDescription } from './describe.ts';
export { configKeys, environmentName, SHORT_FLAGS } from './keys.ts';
export { loadConfig, type ConfigSources } from './load.ts';
export { printableConfig } from './printable.ts';
export { configSchema, sections, type Config } from './schema.ts';
export {
  addressFor,
  placedOutput,
  requestedOutput,
  type OutputConfig,
  type OutputOf,
  type OutputType,
} from './sections/outputs.ts';
export { requestedSource, type SourceConfig } from './sections/sources.ts';
