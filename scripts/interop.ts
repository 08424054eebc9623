/**
 * Every engine that can read and write our tables, Spark included: `npm run interop`. Engines are fetched into `.cache/interop`
 * once; what this machine cannot run is skipped with the reason in the suite's title. `npm test` runs the same without Spark.
 */
process.env.RAT_INTEROP_SPARK = "1"
// Each file has a server and the engines of its own: one file after the other.
process.env.VITEST_MAX_WORKERS = "1"
process.argv.splice(2, process.argv.length, "test/interop")
await import("./test.ts")
