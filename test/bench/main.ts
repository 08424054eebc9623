/**
 * `npm run bench -- NAME [--json] [--rounds N] [--sf N] [--peers]`. Prints a table for people and, as its last line, one JSON object:
 * `{"bench": "runs", "results": [{"name", "value", "unit", "bar", "holds"}, …]}`. Exit code 1 when a bar is missed.
 */
import { parseArgs } from "node:util"
import type { Bench } from "./Bench.ts"
import { holds } from "./Bench.ts"

const benches: Record<string, () => Promise<{ readonly bench: Bench }>> = {
  runs: () => import("./RunsBench.ts"),
  write: () => import("./WriteBench.ts"),
  query: () => import("./QueryBench.ts"),
  catalog: () => import("./CatalogBench.ts"),
  merge: () => import("./MergeBench.ts"),
  neighbours: () => import("./NeighboursBench.ts"),
  plan: () => import("./PlanBench.ts"),
  scale: () => import("./ScaleBench.ts"),
  slots: () => import("./SlotBench.ts"),
  tpch: () => import("./TpchBench.ts"),
  sse: () => import("./SseBench.ts"),
}

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    json: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    sf: { type: "string" },
    peers: { type: "boolean", default: false },
  },
})
const [name = ""] = positionals
const load = benches[name]
const rounds = Number(values.rounds)
const scale = values.sf === undefined ? undefined : Number(values.sf)
if (load === undefined || !Number.isInteger(rounds) || rounds < 1 || !(scale === undefined || scale > 0)) {
  console.error(
    `Usage: npm run bench -- NAME [--json] [--rounds N] [--sf N] [--peers]\nBenches: ${Object.keys(benches).join(", ")}`,
  )
  process.exit(2)
}

const { bench } = await load()
const results = await bench({
  rounds,
  peers: values.peers,
  ...(scale === undefined ? {} : { scale }),
  say: (line) => console.error(line),
})
if (!values.json) {
  for (const result of results) {
    const bar = result.bar === undefined ? "" : ` (${result.better === "more" ? "≥" : "≤"} ${result.bar})`
    const verdict = holds(result)
    console.log(
      `${result.name.padEnd(34)} ${String(Number(result.value.toPrecision(4))).padStart(10)} ${result.unit}${bar}${
        verdict === undefined ? "" : verdict ? "  holds" : "  MISSED"
      }`,
    )
  }
}
const lines = results.map((result) => {
  const verdict = holds(result)
  const { name: metric, value, unit, bar } = result
  return {
    name: metric,
    value: Number(value.toPrecision(6)),
    unit,
    ...(bar === undefined ? {} : { bar, holds: verdict }),
  }
})
console.log(JSON.stringify({ bench: name, results: lines }))
process.exit(lines.some((line) => line.holds === false) ? 1 : 0)
