import { describeSettings, environmentName, SHORT_FLAGS, type SettingDescription } from '../config/config.ts';
import { VERSION } from '../version.ts';

const FLAG_COLUMNS = 36;

/** `npm start -- --help`: every setting by section, with its meaning and default. @param columns of the terminal */
export function serveHelp(columns = Math.min(process.stdout.columns ?? 100, 120)): string {
  const shortOf = new Map(Object.entries(SHORT_FLAGS).map(([flag, key]) => [key, flag]));
  const lines = describeSettings().flatMap(({ meaning, settings }) => [
    '',
    `${meaning}:`,
    ...settings.flatMap((setting) => settingLines(setting, shortOf.get(setting.key), columns)),
  ]);
  return [
    `FlashVSR Live ${VERSION}: npm start -- [--config FILE] [--key value]...`,
    '',
    ...wrapped(
      `Later ones win: defaults, the config file (YAML; flashvsr.yaml when it exists), the environment (media.jitterMs is ${environmentName('media.jitterMs')}), flags. Lists are written as JSON. --model alone lists the models.`,
      columns,
    ),
    ...lines,
  ].join('\n');
}

function settingLines(setting: SettingDescription, short: string | undefined, columns: number): string[] {
  const { key, meaning, choices, defaultText = 'none' } = setting;
  const flag = `  ${short === undefined ? '' : `--${short}, `}--${key}`;
  const words = choices.length === 0 ? meaning : `${meaning}; one of ${choices.join(', ')}`;
  const text = wrapped(`${words.replaceAll('`', '')} (default: ${defaultText})`, columns - FLAG_COLUMNS);
  const [first = ''] = text;
  const indent = ' '.repeat(FLAG_COLUMNS);
  if (flag.length >= FLAG_COLUMNS) return [flag, ...text.map((line) => indent + line)];
  return [flag.padEnd(FLAG_COLUMNS) + first, ...text.slice(1).map((line) => indent + line)];
}

/** At spaces; a word that is longer than the line stays whole. */
function wrapped(text: string, columns: number): string[] {
  const lines: string[] = [];
  let line = '';
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > columns) {
      lines.push(line);
      line = '';
    }
    line += line === '' ? word : ` ${word}`;
  }
  return [...lines, line];
}
