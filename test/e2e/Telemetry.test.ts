import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, beforeAll, describe, it } from "@effect/vitest"
import { RatClient } from "@rat/client"
import { Effect } from "effect"
import { type CollectedSpan, OtlpCollector, rootsOf } from "../support/OtlpCollector.ts"
import { type PrometheusText, parsePrometheus } from "../support/PrometheusText.ts"
import { startRat } from "../support/RatProcess.ts"
import { s3Environment, s3Server } from "../support/S3Server.ts"

/** A real node, started as people start it, that sends what it does to a real collector (F-22, F-24). */

const caller = { runTrace: "0af7651916cd43dd8448eb211c80319c", queryTrace: "1bf7651916cd43dd8448eb211c80319d" }
const callerSpan = "b7ad6b7169203331"

/** Given to the node or sent to it; none of them may come out anywhere. */
const secrets = ["s3-secret-8f3a", "bearer-token-1c5e", "query-token-77ab"]

const files = [
  { path: "pipelines/silver/one/pipeline.sql", content: "select i as id from range(10) t(i)" },
  { path: "pipelines/silver/one/tests/quality/id_is_there.sql", content: "select * from {{ this }} where id is null" },
  { path: "pipelines/silver/broken/pipeline.sql", content: "select nothing_of_that_name" },
]

const produce = Effect.fnUntraced(function* (data: string) {
  const collector = yield* OtlpCollector
  const environment = s3Environment(yield* s3Server)
  const rat = yield* Effect.acquireRelease(
    Effect.promise(() =>
      startRat({
        data,
        env: {
          OTEL_EXPORTER_OTLP_ENDPOINT: collector.endpoint,
          OTEL_METRIC_EXPORT_INTERVAL: "500",
          ...environment,
          S3_SECRET_KEY: secrets[0]!,
          RAT_RUNNER_MEMORY_LIMIT: "512MiB",
        },
      }),
    ),
    (started) => Effect.promise(() => started.killTree()),
  )
  return yield* Effect.promise(async () => {
    const client = new RatClient({ apiUrl: rat.url })
    const post = async (path: string, traceId: string, body: unknown) => {
      const response = await fetch(`${rat.url}${path}?token=${secrets[2]}`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          authorization: `Bearer ${secrets[1]}`,
          traceparent: `00-${traceId}-${callerSpan}-01`,
        },
        body: JSON.stringify(body),
      })
      const text = await response.text()
      assert.isTrue(response.ok, text)
      return JSON.parse(text) as { run_id: string; total_rows: number }
    }
    await client.projects.push("default", { files })
    const target = { namespace: "default", layer: "silver", pipeline: "one" }
    const { run_id } = await post("/api/v1/runs", caller.runTrace, target)
    const run = await client.runs.wait(run_id)
    assert.deepStrictEqual([run.status, run.error], ["success", null])
    const answer = await post("/api/v1/query", caller.queryTrace, { sql: "select * from silver.one where id > 4" })
    assert.strictEqual(answer.total_rows, 5)
    const before = await (await fetch(`${rat.url}/metrics`)).text()
    const broken = await client.runs.create({ namespace: "default", layer: "silver", pipeline: "broken" })
    assert.strictEqual((await client.runs.wait(broken.run_id)).status, "failed")
    const metricsText = await (await fetch(`${rat.url}/metrics`)).text()
    assert.strictEqual(await rat.stop(), 0)
    const { spans, logs, points, malformed } = collector
    return {
      ...{ spans, logs, points, malformed, metricsText, printed: rat.output() },
      ...{
        runId: run_id,
        brokenId: broken.run_id,
        before: parsePrometheus(before),
        after: parsePrometheus(metricsText),
      },
    }
  })
})

type Produced = Effect.Success<ReturnType<typeof produce>>

describe("the telemetry of a node", () => {
  let got: Produced

  beforeAll(async () => {
    const folder = await mkdtemp(join(tmpdir(), "rat-telemetry-"))
    try {
      got = await Effect.runPromise(
        produce(join(folder, "data")).pipe(Effect.scoped, Effect.provide(OtlpCollector.layer)),
      )
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  }, 90_000)

  const spansOf = (traceId: string, name: string) =>
    got.spans.filter((span) => span.traceId === traceId && span.name === name)

  /** Names from the root of the trace down to the span. */
  const pathTo = (span: CollectedSpan): ReadonlyArray<string> => {
    const parent = got.spans.find(({ spanId, traceId }) => spanId === span.parentSpanId && traceId === span.traceId)
    return parent === undefined ? [span.name] : [...pathTo(parent), span.name]
  }

  /** Fails unless `names` occur in this order on the way from the root to some span of the last name. */
  const assertPath = (traceId: string, ...names: ReadonlyArray<string>) => {
    const paths = spansOf(traceId, names.at(-1)!).map(pathTo)
    const fits = paths.some((path) => {
      let next = 0
      for (const name of path) if (name === names[next]) next++
      return next === names.length
    })
    assert.isTrue(fits, `${names.join(" > ")} is not among\n${paths.map((path) => path.join(" > ")).join("\n")}`)
  }

  it("is one connected trace per run, from the caller's span to the transaction that publishes", () => {
    assert.deepStrictEqual(got.malformed, [])
    const roots = rootsOf(got.spans, caller.runTrace)
    assert.deepStrictEqual(
      roots.map(({ name, parentSpanId }) => [name, parentSpanId]),
      [["POST /api/v1/runs", callerSpan]],
    )
    const trace = got.spans.filter(({ traceId }) => traceId === caller.runTrace)
    assert.deepStrictEqual(
      trace.filter(({ isError }) => isError),
      [],
    )
    const [http, run] = ["POST /api/v1/runs", "Run.attempt"]
    assertPath(caller.runTrace, http, "Pipeline.Submit", "RunRepository.submit", "postgres")
    for (const phase of ["branch", "resolve", "execute", "write", "commit", "test", "publish"]) {
      assertPath(caller.runTrace, http, run, `Run.${phase}`)
    }
    assertPath(caller.runTrace, run, "Run.branch", "Catalog.holdBranch", "postgres")
    assertPath(caller.runTrace, run, "Run.resolve", "Slot.render")
    assertPath(caller.runTrace, run, "Run.execute", "Slot.execute")
    assertPath(caller.runTrace, run, "Run.execute", "Slot.copy")
    assertPath(caller.runTrace, run, "Run.write", "ObjectStore.put")
    assertPath(caller.runTrace, run, "Run.commit", "IcebergTable.commit", "ObjectStore.put")
    assertPath(caller.runTrace, run, "Run.commit", "Catalog.commitHeld", "postgres")
    assertPath(caller.runTrace, run, "Run.test", "Slot.quality")
    const publish = [run, "Run.publish", "RunControl.Succeed", "RunRepository.succeed", "sql.transaction"]
    assertPath(caller.runTrace, ...publish, "Catalog.mergeMany", "postgres")
    // The end of the run, its events included.
    assertPath(caller.runTrace, ...publish, "postgres")
  })

  it("is one connected trace per query", () => {
    assert.deepStrictEqual(
      rootsOf(got.spans, caller.queryTrace).map(({ name, parentSpanId }) => [name, parentSpanId]),
      [["POST /api/v1/query", callerSpan]],
    )
    const path = ["POST /api/v1/query", "QueryAnswers.answer", "Query.Query", "QueryRole.query"]
    assertPath(caller.queryTrace, ...path, "QueryPlan.plan", "Catalog.table", "postgres")
    assertPath(caller.queryTrace, ...path, "SlotPool.acquire")
    assertPath(caller.queryTrace, ...path, "Slot.query")
  })

  it("keeps background work out of the traces of others", () => {
    // A trace that began with the node would grow for as long as it lives.
    const starts = Map.groupBy(got.spans, ({ traceId }) => traceId)
    for (const [traceId, spans] of starts) {
      assert.isBelow(spans.length, 200, `trace ${traceId} of ${rootsOf(spans, traceId).map(({ name }) => name)}`)
    }
    assert.isEmpty(got.spans.filter(({ name }) => name === "startNode"))
  })

  it("names run, attempt, pipeline and trace in every log line of a run, for the collector and on stderr", () => {
    const ended = got.logs.find(({ body }) => body === "A run succeeded")
    assert.strictEqual(ended?.traceId, caller.runTrace)
    const { run_id, attempt, namespace, pipeline } = ended?.attributes ?? {}
    assert.deepStrictEqual([run_id, attempt, namespace, pipeline], [got.runId, 1, "default", "silver.one"])

    const lines = got.printed.split("\n").filter((line) => line.startsWith("{"))
    const records = lines.map((line) => JSON.parse(line) as Record<string, unknown>)
    const ofRun = records.filter((record) => record.run_id === got.runId)
    assert.isNotEmpty(ofRun)
    for (const record of ofRun) {
      assert.strictEqual(record.trace_id, caller.runTrace)
      assert.deepStrictEqual(
        [record.level, record.attempt, record.namespace, record.pipeline],
        ["info", 1, "default", "silver.one"],
      )
    }
    const failed = records.find((record) => record.run_id === got.brokenId)
    assert.deepStrictEqual([failed?.message, failed?.pipeline], ["A run failed", "silver.broken"])
    assert.include(String(failed?.reason), "nothing_of_that_name")
  })

  it("stops without a warning", () => {
    assert.notMatch(got.printed, /"level":"(warn|error)"/)
  })

  it("counts what happened, at /metrics and at the collector alike", () => {
    const value = ({ samples }: PrometheusText, name: string, labels: Record<string, string> = {}) =>
      samples.find(
        (sample) => sample.name === name && Object.entries(labels).every(([key, at]) => sample.labels[key] === at),
      )?.value
    assert.deepStrictEqual(
      [
        value(got.before, "rat_runs_total", { status: "success" }),
        value(got.before, "rat_runs_total", { status: "failed" }),
      ],
      [1, 0],
    )
    assert.strictEqual(value(got.after, "rat_runs_total", { status: "failed" }), 1)
    assert.strictEqual(value(got.after, "rat_claims_total"), 2)
    assert.strictEqual(value(got.after, "rat_queries_total", { status: "success" }), 1)
    assert.strictEqual(value(got.after, "rat_query_duration_seconds_count"), 1)
    assert.strictEqual(value(got.after, "rat_http_requests_total", { route: "/api/v1/query", status: "200" }), 1)
    assert.isAbove(value(got.after, "rat_store_requests_total", { op: "put", outcome: "ok" }) ?? 0, 0)
    assert.strictEqual(value(got.after, "rat_slots", { pool: "query", state: "free" }), 2)
    assert.isAbove(value(got.after, "rat_run_duration_seconds_sum", { status: "success" }) ?? 0, 0)
    assert.isBelow(value(got.after, "rat_run_duration_seconds_sum", { status: "success" }) ?? 99, 20)
    assert.strictEqual(got.after.types.get("rat_runs_total"), "counter")
    assert.strictEqual(got.after.types.get("rat_run_duration_seconds"), "histogram")

    const sent = got.points.findLast(
      ({ name, attributes }) => name === "rat_runs_total" && attributes.status === "success",
    )
    assert.strictEqual(sent?.value, 1)
    const families = [...got.after.types.keys()].filter((name) => name.startsWith("rat_"))
    const received = new Set(got.points.map(({ name }) => name))
    assert.deepStrictEqual(
      families.filter((name) => !received.has(name)),
      [],
    )
  })

  it("says nothing that was given in confidence", () => {
    const plain = JSON.stringify([got.spans, got.logs, got.points], (_, value) =>
      typeof value === "bigint" ? String(value) : value,
    )
    for (const secret of secrets) {
      for (const text of [plain, got.printed, got.metricsText]) assert.notInclude(text, secret)
    }
  })

  it("has every metric that the dashboard shows, once a node has run one pipeline and one query", async () => {
    const dashboard = await readFile(new URL("../../infra/dashboards/rat-overview.json", import.meta.url), "utf8")
    const { panels } = JSON.parse(dashboard) as { panels: Array<{ targets?: Array<{ expr: string }> }> }
    const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    assert.isAbove(queries.length, 20)
    const exposed = new Set(got.before.samples.map(({ name }) => name))
    const named = new Set(queries.flatMap((query) => query.match(/\brat_[a-z_]+/g) ?? []))
    assert.deepStrictEqual(
      [...named].filter((name) => !exposed.has(name)),
      [],
    )
    // Labels, too: a wrong one is an empty panel.
    for (const query of queries) {
      const [name = ""] = /\brat_[a-z_]+/.exec(query) ?? []
      const labels = new Set(
        got.before.samples.filter((sample) => sample.name === name).flatMap(({ labels }) => Object.keys(labels)),
      )
      const used = (/\bby \(([^)]*)\)/.exec(query)?.[1] ?? "").split(", ").filter((label) => label !== "")
      for (const label of used) assert.isTrue(label === "instance" || labels.has(label), `${label} in ${query}`)
    }
  })
})
