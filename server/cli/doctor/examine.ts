import { loadConfig, type Config, type ConfigSources } from '../../config/config.ts';
import { AppError } from '../../errors.ts';
import { failed, ok, type Finding } from './finding.ts';
import { checkClock, checkFolders, checkOpenFiles } from './machine-checks.ts';
import type { Machine } from './machine.ts';
import { checkModels } from './model-checks.ts';
import {
  checkAccess,
  checkAddresses,
  checkCertificate,
  checkMediaPorts,
  checkPort,
  checkTurn,
} from './network-checks.ts';

/**
 * Everything that a start of the server, its publishers and its viewers need, as far as one machine can say. Changes nothing: no
 * folder, key or certificate is made. Only servers that the configuration names are asked, and only for STUN and TURN.
 */
export async function examine(sources: ConfigSources, machine: Machine): Promise<Finding[]> {
  const own = [checkOpenFiles(machine), await checkClock(machine)];
  let config: Config;
  try {
    config = loadConfig(sources);
  } catch (thrown) {
    const { message } = AppError.from(thrown);
    // Nothing else can be judged by settings that are not valid.
    return [...own, failed(/access\.mode/.test(message) ? 'access' : 'settings', thrown)];
  }
  const asked = await Promise.all([
    checkPort(config),
    checkMediaPorts(config),
    checkAddresses(config, machine),
    checkTurn(config, machine),
    checkModels(config, machine),
    checkFolders(config, machine),
  ]);
  const [port, ...others] = asked.flat();
  const settings = ok('settings', 'valid');
  const access = [...checkAccess(config, machine), checkCertificate(config, machine)];
  return [...own, settings, ...access, ...(port === undefined ? [] : [port]), ...others];
}
