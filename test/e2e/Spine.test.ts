import { assert, describe, layer } from "@effect/vitest"
import { NotFoundError, type RatError, ValidationError } from "@rat/client"
import { tableFromIPC } from "apache-arrow"
import { Context, Effect, Layer } from "effect"
import { type TestNode, type TestStore, testNode } from "../support/TestNode.ts"

/** From a file to an audited, published table, through the HTTP port, on both object stores. */

class Node extends Context.Service<Node, TestNode>()("test/e2e/Node") {}

const orders = ["id,country,amount", "1,de,10.50", "2,fr,20.00", "3,de,5.25", "4,es,-1.00", ""].join("\n")

const project = {
  landing_zones: ["orders"],
  files: [
    {
      path: "pipelines/bronze/orders/pipeline.sql",
      content:
        "select id, country, cast(amount as decimal(10,2)) as amount\nfrom read_csv('{{ landing_zone('orders') }}')\n",
    },
    {
      path: "pipelines/gold/revenue/pipeline.sql",
      content:
        "select country, sum(amount) as revenue, count(*) as orders\nfrom {{ ref('bronze.orders') }}\ngroup by country\n",
    },
    {
      path: "pipelines/gold/revenue/tests/quality/countries.sql",
      content:
        "-- @severity: error\n-- @description: Every row has a country\nselect * from {{ this }} where country is null\n",
    },
    {
      path: "pipelines/gold/revenue/tests/quality/positive.sql",
      content:
        "-- @severity: warn\n-- @description: Revenue is positive\nselect * from {{ this }} where revenue <= 0\n",
    },
  ],
}

const use = <A>(act: (node: TestNode) => Promise<A>) => Effect.flatMap(Node, (node) => Effect.promise(() => act(node)))

/** Submits a run and follows it by server-sent events to its end. */
const follow = (layerName: "bronze" | "silver" | "gold", pipeline: string) =>
  use(async ({ client }) => {
    const { run_id } = await client.runs.create({ namespace: "default", layer: layerName, pipeline })
    const seqs: Array<number> = []
    const statuses: Array<string> = []
    for await (const update of client.runs.follow(run_id)) {
      if (update.type === "log") seqs.push(update.entry.seq)
      else statuses.push(update.status)
    }
    return { run: await client.runs.get(run_id), seqs, statuses }
  })

const rejection = (promise: Promise<unknown>): Promise<RatError> =>
  promise.then(
    () => assert.fail("it should have been refused"),
    (error: unknown) => error as RatError,
  )

const stores: ReadonlyArray<TestStore> = ["file", "s3"]

describe.each(stores)("the spine on the %s store", (store) => {
  layer(Layer.effect(Node, testNode({ store })), { excludeTestServices: true, timeout: "60 seconds" })((it) => {
    it.effect("is ready, and says so for every dependency", () =>
      use(async ({ client }) => {
        const ready = await client.health.ready()
        assert.strictEqual(ready.status, "ready")
        assert.sameMembers(Object.keys(ready.checks), [
          "node",
          "postgres",
          "object_store",
          "catalog",
          "runner",
          "query",
          "other_nodes",
          "collector",
        ])
      }),
    )

    it.effect("takes a project, and refuses a wrong one with all its problems and none of its files", () =>
      use(async ({ client }) => {
        const wrong = {
          files: [
            { path: "pipelines/silver/a/pipeline.sql", content: "selec 1" },
            { path: "pipelines/silver/b/pipeline.sql", content: "select * from {{ ref('bronze.nothing') }}" },
            { path: "pipelines/silver/c/config.yaml", content: "merge_strategie: full_refresh\n" },
            { path: "pipelines/silver/c/pipeline.sql", content: "select 1 as x" },
          ],
        }
        const refused = await rejection(client.projects.push("default", wrong))
        assert.instanceOf(refused, ValidationError)
        const issues = (refused.details as { issues: ReadonlyArray<{ path: string }> }).issues
        assert.sameMembers(
          [...new Set(issues.map((issue) => issue.path))],
          ["pipelines/silver/a/pipeline.sql", "pipelines/silver/b/pipeline.sql", "pipelines/silver/c/config.yaml"],
        )
        assert.lengthOf((await client.storage.list("default")).files, 0)

        const answer = await client.projects.push("default", project)
        assert.deepStrictEqual(answer.pipelines_created, ["bronze.orders", "gold.revenue"])
        assert.deepStrictEqual(answer.zones_created, ["orders"])
        assert.lengthOf(answer.written, 4)
      }),
    )

    it.effect("lands a file, runs a pipeline over it and publishes a table", () =>
      Effect.gen(function* () {
        const file = yield* use(({ client }) =>
          client.landing.upload("default", "orders", "orders.csv", new Blob([orders], { type: "text/csv" })),
        )
        assert.match(file.filename, /^\d{8}_\d{6}_orders\.csv$/)
        const { run, seqs, statuses } = yield* follow("bronze", "orders")
        assert.strictEqual(run.error, null)
        assert.strictEqual(run.status, "success")
        assert.strictEqual(run.rows_written, 4)
        assert.strictEqual(statuses.at(-1), "success")
        // Every line once, in order, without a gap.
        assert.deepStrictEqual(
          seqs,
          seqs.map((_, index) => index + 1),
        )
        const table = yield* use(({ client }) => client.tables.get("default", "bronze", "orders"))
        assert.strictEqual(table.row_count, 4)
        assert.deepStrictEqual(
          table.columns.map(({ name, type }) => [name, type]),
          [
            ["id", "BIGINT"],
            ["country", "VARCHAR"],
            ["amount", "DECIMAL(10,2)"],
          ],
        )
      }),
    )

    it.effect("reads the upstream table, and keeps quality results as data", () =>
      Effect.gen(function* () {
        const { run } = yield* follow("gold", "revenue")
        assert.strictEqual(run.status, "success")
        const quality = yield* use(({ client }) => client.runs.quality(run.id))
        assert.deepStrictEqual(
          quality.results.map(({ name, status, violations }) => [name, status, violations]),
          [
            ["countries", "passed", 0],
            ["positive", "warned", 1],
          ],
        )
        assert.strictEqual(quality.results[1]?.sample_rows.length, 1)
      }),
    )

    it.effect("answers queries the moment a run has ended, in every format", () =>
      use(async ({ client, url }) => {
        const sql = "select country, revenue, orders from gold.revenue order by country"
        const objects = await client.query.execute(sql)
        assert.deepStrictEqual(
          objects.rows.map((row) => row.country),
          ["de", "es", "fr"],
        )
        const arrays = await client.query.arrays({ sql, namespace: "default" })
        // Types whose values JavaScript's numbers cannot all hold travel as text.
        assert.deepStrictEqual(arrays.rows[0], ["de", "15.75", "2"])
        assert.strictEqual(arrays.total_rows, 3)

        const bytes = async (accept: string) => {
          const response = await fetch(`${url}/api/v1/query`, {
            method: "POST",
            headers: { "content-type": "application/json", accept },
            body: JSON.stringify({ sql }),
          })
          assert.strictEqual(response.status, 200)
          assert.include(response.headers.get("content-type") ?? "", accept)
          return new Uint8Array(await response.arrayBuffer())
        }
        const csv = new TextDecoder().decode(await bytes("text/csv"))
        assert.deepStrictEqual(csv.trim().split(/\r?\n/), [
          "country,revenue,orders",
          "de,15.75,2",
          "es,-1.00,1",
          "fr,20.00,1",
        ])
        const parquet = await bytes("application/vnd.apache.parquet")
        assert.strictEqual(new TextDecoder().decode(parquet.slice(0, 4)), "PAR1")
        const arrow = tableFromIPC(await bytes("application/vnd.apache.arrow.stream"))
        assert.strictEqual(arrow.numRows, 3)
      }),
    )

    it.effect("answers a wrong query with the engine's words and the place", () =>
      use(async ({ client }) => {
        const error = await rejection(client.query.execute("select nope from gold.revenue"))
        assert.strictEqual(error.status, 400)
        assert.include(error.message, "nope")
        const details = error.details as { line?: number; column?: number; position?: number }
        assert.deepStrictEqual([details.line, details.column, details.position], [1, 8, 7])
        const preview = await client.tables.preview("default", "gold", "revenue", { limit: 2 })
        assert.strictEqual(preview.total_rows, 2)
        const missing = await rejection(client.tables.preview("default", "gold", "nothing"))
        assert.instanceOf(missing, NotFoundError)
      }),
    )

    it.effect("keeps main as it was when a test fails, and the branch readable", () =>
      Effect.gen(function* () {
        yield* use(({ client }) =>
          client.storage.write(
            "default/pipelines/gold/revenue/tests/quality/positive.sql",
            "-- @severity: error\nselect * from {{ this }} where revenue <= 0\n",
          ),
        )
        yield* use(({ client }) =>
          client.storage.write(
            "default/pipelines/gold/revenue/pipeline.sql",
            "select country, sum(amount) * 2 as revenue, count(*) as orders from {{ ref('bronze.orders') }} group by country",
          ),
        )
        const { run } = yield* follow("gold", "revenue")
        assert.strictEqual(run.status, "failed")
        assert.include(run.error ?? "", "positive")
        const revenue = (branch?: string) =>
          use(({ client }) =>
            client.query.arrays({
              sql: "select revenue from gold.revenue where country = 'de'",
              ...(branch === undefined ? {} : { branch }),
            }),
          )
        assert.deepStrictEqual((yield* revenue()).rows, [["15.75"]])
        assert.isNotNull(run.branch)
        assert.deepStrictEqual((yield* revenue(run.branch ?? "")).rows, [["31.50"]])
      }),
    )

    it.effect("stops a running statement when its run is cancelled", () =>
      use(async ({ client }) => {
        await client.projects.push("default", {
          files: [
            {
              path: "pipelines/silver/endless/pipeline.sql",
              content: "select count(*) as n from range(1000000000) a, range(1000000) b",
            },
          ],
        })
        const { run_id } = await client.runs.create({ namespace: "default", layer: "silver", pipeline: "endless" })
        for await (const update of client.runs.follow(run_id)) {
          if (update.type === "log" && update.entry.phase === "execute") break
        }
        const cancelledAt = performance.now()
        const answer = await client.runs.cancel(run_id)
        assert.strictEqual(answer.status, "cancelled")
        assert.isBelow(performance.now() - cancelledAt, 1000)
        const again = await rejection(client.runs.cancel(run_id))
        assert.strictEqual(again.status, 409)
        const absent = await rejection(client.tables.get("default", "silver", "endless"))
        assert.instanceOf(absent, NotFoundError)
      }),
    )

    it.effect("stops the statement of a query whose client has left", () =>
      use(async ({ client }) => {
        const leave = new AbortController()
        const asked = rejection(
          client.query.execute("select count(*) from range(1000000000) a, range(1000000) b", {
            signal: leave.signal,
            maxRetries: 0,
          }),
        )
        await new Promise((resolve) => setTimeout(resolve, 300))
        leave.abort()
        await asked
        // The slot is free again: as many queries as there are slots answer at once.
        const answers = await Promise.all([1, 2, 3, 4].map((n) => client.query.arrays(`select ${n} as n`)))
        assert.deepStrictEqual(
          answers.map((answer) => answer.rows[0]?.[0]),
          [1, 2, 3, 4],
        )
      }),
    )
  })
})
