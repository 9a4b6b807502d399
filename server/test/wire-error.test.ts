import { expect, it } from 'vitest';
import { AppError, ERRORS, type ErrorCode } from '../errors.ts';
import { wireError } from '../wire-error.ts';

it("what is written for the operator stays in the log: no path, checksum or device of the server's machine", () => {
  const message = '/srv/models/nano/nano.onnx has sha256 0d6e4f..., its manifest says 5f70bf...';
  const operators: ErrorCode[] = ['model.invalid', 'model.run', 'weights.invalid', 'engine.device', 'pipeline.crashed'];
  for (const code of [...operators, 'internal' as const]) {
    const sent = JSON.stringify(wireError(new AppError(code, message, { remedy: `Replace ${message}` })));
    expect(sent).not.toContain('/srv');
    expect(sent).not.toContain('sha256');
    expect(JSON.parse(sent)).toMatchObject({ code, retryable: (ERRORS[code] as { retryable: boolean }).retryable });
  }
});

it("an error about the client's own request says what was wrong", () => {
  const error = new AppError('sdp.invalid', 'Line 3 has no value.');
  expect(wireError(error)).toMatchObject({ message: 'Line 3 has no value.', remedy: error.remedy });
});
