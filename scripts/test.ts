/**
 * Runs every test and ends with the line `N passed, N failed`. Arguments go to vitest: `npm test -- packages/domain`.
 */

import { fileURLToPath } from "node:url"
import type { TestCase } from "vitest/node"
import { startVitest } from "vitest/node"

const root = fileURLToPath(new URL("..", import.meta.url))
const vitest = await startVitest("test", process.argv.slice(2), { root, watch: false, run: true })

const counts = { passed: 0, failed: 0, skipped: 0 }
for (const module of vitest.state.getTestModules()) {
  for (const test of module.children.allTests() as Iterable<TestCase>) {
    const { state } = test.result()
    if (state === "passed" || state === "failed" || state === "skipped") counts[state] += 1
  }
  // A file that cannot be loaded has no tests to count; it must not look like success.
  if (module.state() === "failed" && ![...module.children.allTests("failed")].length) counts.failed += 1
}
const errors = vitest.state.getUnhandledErrors().length
counts.failed += errors
await vitest.close()
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ""
console.log(`${counts.passed} passed, ${counts.failed} failed${skipped}`)
process.exit(counts.failed > 0 || counts.passed === 0 ? 1 : 0)
