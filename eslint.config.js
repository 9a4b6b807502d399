import js from '@eslint/js';
import globals from 'globals';
import tseslint from 'typescript-eslint';

/** One import, one room: the libraries that shape whole layers may only be touched where they belong (docs/architecture.md). */
const fenced = {
  werift: { allow: ['server/rtc/**'], why: 'werift is used in server/rtc only' },
  'node-av': { allow: ['server/codec/**'], why: 'node-av is used in server/codec only' },
  'onnxruntime-node': {
    allow: ['server/upscalers/onnx/**', 'bench/quality/**'],
    why: 'onnxruntime is used in server/upscalers/onnx only',
  },
};
const fence = (names) => ({
  'no-restricted-imports': [
    'error',
    { patterns: names.map((name) => ({ group: [name, `${name}/*`], message: fenced[name].why })) },
  ],
});
const all = Object.keys(fenced);

export default tseslint.config(
  { ignores: ['node_modules/', 'build/', 'native/', 'kernels/', 'training/', 'test-output/', '.cache/', '.train/'] },
  js.configs.recommended,
  ...tseslint.configs.recommendedTypeChecked.map((config) => ({ ...config, files: ['**/*.ts'] })),
  {
    files: ['**/*.ts'],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_', varsIgnorePattern: '^_' }],
      '@typescript-eslint/require-await': 'off',
      ...fence(all),
    },
  },
  ...all.map((name) => ({ files: fenced[name].allow, rules: fence(all.filter((other) => other !== name)) })),
  // Tests may drive any peer or codec directly: they stand outside the rooms.
  { files: ['**/*.test.ts', 'testing/**', 'tests/**', 'bench/**'], rules: { 'no-restricted-imports': 'off' } },
  { files: ['**/*.js', '**/*.mjs'], languageOptions: { globals: { ...globals.node } } },
  { files: ['client-demo/**/*.js'], languageOptions: { globals: { ...globals.browser } } },
);
