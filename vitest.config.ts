import { defineConfig } from "vitest/config"

export default defineConfig({
  test: {
    include: ["packages/*/src/**/*.test.ts", "test/**/*.test.ts"],
    pool: "forks",
    globalSetup: ["packages/lakehouse/src/postgres/TestPostgresServer.ts"],
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
})
