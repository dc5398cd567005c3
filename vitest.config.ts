import { defineConfig } from 'vitest/config';

// Tests run from the compiled output, so that worker processes and worker threads start the same files.
export default defineConfig({
  test: {
    include: ['dist/test/**/*.test.js'],
    // Boots a machine: `npm run test:rdma`. Takes minutes: `npm run test:long`.
    exclude: ['dist/test/rdma/**', 'dist/test/long/**'],
    // Machines may be slow, and busy: software that stands in for a GPU has taken minutes then.
    testTimeout: 900_000,
    hookTimeout: 120_000,
    // Cluster tests start processes of their own; more files at once would only fight for cores.
    maxWorkers: 2,
  },
});
