import { defineConfig } from 'vitest/config';

// RDMA devices in an emulated machine: minutes long, and best alone.
export default defineConfig({ test: { include: ['dist/test/rdma/**/*.test.js'] } });
