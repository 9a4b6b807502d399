// For HEALTHCHECK: 0 while the process answers, over HTTP or HTTPS on its own machine. The certificate is for a public name, so that it is not
// checked here.
import http from 'node:http';
import https from 'node:https';

const { FLASHVSR_HTTP_PORT = '8080', FLASHVSR_HTTP_TLS_CERTIFICATE_FILE: certificate } = process.env;
const client = certificate === undefined ? http : https;
const options = {
  host: '127.0.0.1',
  port: FLASHVSR_HTTP_PORT,
  path: '/healthz',
  timeout: 4000,
  rejectUnauthorized: false,
};

const end = (healthy) => process.exit(healthy ? 0 : 1);
const request = client.get(options, ({ statusCode }) => end(statusCode === 200));
request.on('timeout', () => end(false));
request.on('error', () => end(false));
