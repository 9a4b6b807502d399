/** Of the server's environment: what a program needs to start and to trust certificates, nothing that is the operator's. */
const NAMES = ['PATH', 'HOME', 'TMPDIR', 'TZ', 'LANG', 'LD_LIBRARY_PATH', 'NODE_EXTRA_CA_CERTS'] as const;

/** For processes that handle what others send: keys and tokens of the server's settings are not for them. */
export function childEnvironment(): NodeJS.ProcessEnv {
  return Object.fromEntries(NAMES.flatMap((name) => (name in process.env ? [[name, process.env[name]]] : [])));
}
