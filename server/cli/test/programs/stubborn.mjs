// A child that a signal does not end, as one whose native code hangs: only SIGKILL does.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => undefined);
process.once('message', () => process.stderr.write('at work\n'));
setInterval(() => undefined, 1000);
