import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { selfSignedCertificate } from '../../testing/certificate.ts';
import { leftOut } from '../../testing/interop/program.ts';
import { ROOT } from './files.ts';

/** deploy/ in the judgement of the programs that read it, each left out aloud where it is not installed. */

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'deploy-'));
  cpSync(path.join(ROOT, 'deploy'), folder, { recursive: true });
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const file = (name: string): string => path.join(folder, name);

/** @returns status and output of a program that ends by itself */
function checked(program: string, ...args: string[]): readonly [number | null, string] {
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: 'utf8', timeout: 60_000 });
  return [status, `${stdout}${stderr}`];
}

it.skipIf(leftOut('haproxy', ['haproxy', '-v']))('HAProxy takes its configuration without a warning', () => {
  const { cert, key } = selfSignedCertificate();
  writeFileSync(file('haproxy/certificate.pem'), `${cert}${key}`);
  const [status, output] = checked('haproxy', '-c', '-C', file('haproxy'), '-f', file('haproxy/haproxy.cfg'));
  expect([status, output.match(/WARNING|ALERT/g)]).toEqual([0, null]);
});

it.skipIf(leftOut('nginx', ['nginx', '-v']))('nginx takes its configuration without a warning', () => {
  const { cert, key } = selfSignedCertificate();
  writeFileSync(file('nginx/cert.pem'), cert);
  writeFileSync(file('nginx/key.pem'), key);
  // What it writes lies in the folder, too, and its ports are open to every user: the test needs no root.
  const conf = file('nginx/nginx.conf');
  const kinds = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'];
  const folders = kinds.map((kind) => `${kind}_temp_path ${file(kind)};`).join(' ');
  const text = readFileSync(conf, 'utf8').replace('http {', `http { ${folders}`);
  const elsewhere = text.replace('listen 80;', 'listen 48080;').replace('listen 443 ', 'listen 48443 ');
  writeFileSync(conf, `pid ${file('nginx.pid')};\nerror_log stderr;\n${elsewhere}`);
  const [status, output] = checked('nginx', '-t', '-p', file('nginx'), '-e', 'stderr', '-c', conf);
  expect([status, output.match(/\[(warn|emerg|error)\]/g)], output).toEqual([0, null]);
});

it.skipIf(leftOut('promtool', ['promtool', '--version']))('Prometheus takes its configuration and its rules', () => {
  const [status, output] = checked('promtool', 'check', 'config', file('prometheus/prometheus.yml'));
  expect(status, output).toBe(0);
  expect(output).toMatch(/rules found/);
});

it.skipIf(leftOut('systemd-analyze', ['systemd-analyze', '--version']))('systemd takes its unit', () => {
  const unit = file('systemd/flashvsr-live.service');
  const node = process.execPath;
  writeFileSync(unit, readFileSync(unit, 'utf8').replace('/usr/bin/node', node));
  const [status, output] = checked('systemd-analyze', 'verify', unit);
  expect(status, output).toBe(0);
  expect(output).not.toMatch(/flashvsr-live\.service.*(Unknown|Invalid|not executable)/i);
});
