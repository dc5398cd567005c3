import { defineConfig } from 'vitest/config';

// Trials that take minutes: `npm run test:long`.
export default defineConfig({
  test: { include: ['dist/test/long/**/*.test.js'], testTimeout: 1_200_000, hookTimeout: 120_000 },
});
