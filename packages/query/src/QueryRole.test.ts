import { execFile } from "node:child_process"
import { readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { promisify } from "node:util"
import { DuckDBInstance } from "@duckdb/node-api"
import { assert, layer } from "@effect/vitest"
import { mainRef, type QueryBody, type QueryHead, type QueryTail, RefName, TableKey } from "@rat/domain"
import { Catalog, ObjectStore, ScanPlanner } from "@rat/lakehouse"
import { tableFromIPC } from "apache-arrow"
import { Effect, Exit, Fiber, Schema, Stream } from "effect"
import { ask, publish, refusal, requestOf, rows, TestQuery } from "./session/TestQuery.ts"

const endless = "select count(*) from range(1000000000000) t(i) where i % 7 = 3"

/** Waits until no query runs and every slot is ready. */
const idle = Effect.gen(function* () {
  const { client } = yield* TestQuery
  while ((yield* client.Health()).free < 2) yield* Effect.sleep(5)
})

/** Process ids of this test's slots. */
const slotProcesses = Effect.promise(async () => {
  const { stdout } = await promisify(execFile)("ps", ["-o", "pid=,args=", "--ppid", String(process.pid)])
  return stdout
    .split("\n")
    .filter((line) => line.includes("QuerySlot.ts"))
    .map((line) => Number.parseInt(line, 10))
})

layer(
  TestQuery.layer({ slots: 2, threads: 2, maxWaiting: 1, memoryLimitBytes: 300_000_000, spillLimitBytes: 100_000_000 }),
  {
    excludeTestServices: true,
  },
)("QueryRole", (it) => {
  it.effect("tables are found by two- and three-part names, quoted or not, reserved words and hyphens included", () =>
    Effect.gen(function* () {
      yield* publish("default.bronze.orders", "select 1 as id")
      yield* publish("default.silver.my-table", "select 2 as id")
      yield* publish("sales-eu.gold.top-10", "select 3 as id")
      yield* publish("system.silver.order", "select 4 as id")
      yield* publish("bronze.silver.x", "select 5 as id")
      for (const [sql, id, namespace] of [
        ["from bronze.orders", 1, null],
        ["from BRONZE.Orders", 1, null],
        ["from default.bronze.orders", 1, null],
        ['from "default"."bronze"."orders"', 1, null],
        ["from default.bronze.orders", 1, "default"],
        ["from silver.my-table", 2, null],
        ['from silver."my-table" t', 2, null],
        ["from default.silver.my-table", 2, null],
        ["from sales-eu.gold.top-10", 3, null],
        ["from gold.top-10", 3, "sales-eu"],
        ["from system.silver.order", 4, null],
        ["from silver.order", 4, "system"],
        ["from bronze.silver.x", 5, null],
        [
          "select sum(id)::int from (from default.bronze.orders union all from bronze.silver.x union all from bronze.orders)",
          7,
          null,
        ],
        ["with orders as (from bronze.orders) from orders", 1, null],
      ] as const) {
        assert.deepStrictEqual(yield* rows({ sql, namespace }), [[id]], sql)
      }
    }),
  )

  it.effect("a table is there the moment it is published, and main does not see what is on a branch", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      yield* publish("default.silver.fresh", "select 1 as v")
      assert.deepStrictEqual(yield* rows({ sql: "from silver.fresh" }), [[1]])
      yield* catalog.createBranch(RefName.make("trial"), { from: mainRef })
      yield* publish("default.silver.fresh", "select 2 as v", "trial")
      yield* publish("default.silver.only-there", "select 3 as v", "trial")
      assert.deepStrictEqual(yield* rows({ sql: "from silver.fresh" }), [[1]])
      assert.deepStrictEqual(yield* rows({ sql: "from silver.fresh, silver.only-there", ref: "trial" }), [[2, 3]])
      assert.include((yield* refusal({ sql: "from silver.only-there" })).message, "does not exist on main")
      assert.deepInclude(yield* refusal({ sql: "select 1", ref: "gone" }), { _tag: "RefNotFound", ref: "gone" })
      assert.deepInclude(yield* refusal({ sql: "from silver.fresh", ref: "gone" }), { _tag: "RefNotFound" })
    }),
  )

  it.effect("a table is planned again only when it changed", () =>
    // Shows F-21
    Effect.gen(function* () {
      const planner = yield* ScanPlanner
      yield* publish("default.silver.planned", "select 1 as v")
      yield* rows({ sql: "from silver.planned" })
      const before = yield* planner.planned
      for (let query = 0; query < 5; query++) yield* rows({ sql: "from silver.planned" })
      assert.strictEqual(yield* planner.planned, before)
      yield* publish("default.silver.planned", "select 2 as v")
      assert.deepStrictEqual(yield* rows({ sql: "from silver.planned" }), [[2]])
      assert.strictEqual(yield* planner.planned, before + 1)
    }),
  )

  it.effect("files in which nothing can match are not even opened", () =>
    Effect.gen(function* () {
      const planner = yield* ScanPlanner
      const catalog = yield* Catalog
      const store = yield* ObjectStore
      const key = Schema.decodeUnknownSync(TableKey)({ namespace: "default", layer: "silver", name: "many" })
      for (let part = 0; part < 4; part++) {
        yield* publish(
          "default.silver.many",
          `select i::int as id, 'k' || i as k from range(${part * 10}, ${part * 10 + 10}) t(i)`,
          "main",
          part === 0 ? "overwrite" : "append",
        )
      }
      const { files } = yield* planner.plan((yield* catalog.table(mainRef, key))!.metadataLocation)
      assert.strictEqual(files.length, 4)
      // From now on only queries that leave it out can be answered.
      yield* store.remove([store.keyOf(files.find(({ upperBounds }) => upperBounds.get(1)?.[0] === 39)!.filePath)])
      for (const [sql, expected] of [
        ["select count(*)::int from silver.many where id < 25 and k <> 'k3'", 24],
        [
          "select count(*)::int from silver.many m join default.silver.many n on m.id = n.id where m.id = 7 and n.id < 30",
          1,
        ],
        ["with q as (from silver.many where id between 5 and 12) select count(*)::int from q, q as r", 64],
        ["select count(*)::int from silver.many where not (id >= 30)", 30],
      ] as const) {
        assert.deepStrictEqual(yield* rows({ sql }), [[expected]], sql)
      }
      for (const sql of [
        "select count(*) from silver.many where k <> 'x' and id + 0 < 3",
        "select * from silver.many m left join default.silver.many n on m.id = n.id where m.id = 7 and n.k is null",
        "select count(*) from silver.many where id < 3 or k like '%9'",
      ]) {
        assert.isTrue(Exit.isFailure(yield* Effect.exit(rows({ sql }))), sql)
      }
    }),
  )

  it.effect("several tables are read as of one commit, whatever is committed meanwhile", () =>
    Effect.gen(function* () {
      const catalog = yield* Catalog
      // Two versions of two tables that belong together, moved by one commit each time.
      for (const name of ["left", "right", "left-new", "right-new"]) {
        yield* publish(`default.gold.${name}`, `select ${name.endsWith("new") ? 2 : 1} as version`)
      }
      const key = (name: string) => Schema.decodeUnknownSync(TableKey)({ namespace: "default", layer: "gold", name })
      const pointer = (name: string) => Effect.map(catalog.table(mainRef, key(name)), (found) => found!)
      const versions = [
        [yield* pointer("left"), yield* pointer("right")],
        [yield* pointer("left-new"), yield* pointer("right-new")],
      ] as const
      let version = 0
      const swap = Effect.gen(function* () {
        const [from, to] = [versions[version % 2]!, versions[(version + 1) % 2]!]
        yield* catalog.commit(mainRef, {
          message: "swap",
          author: "test",
          runId: null,
          changes: ["left", "right"].map((name, index) => ({
            key: key(name),
            expected: from[index]!.metadataLocation,
            next: { ...to[index]!, snapshotId: to[index]!.snapshotId },
          })),
        })
        version++
      })
      const writer = yield* Effect.forkChild(Effect.forever(Effect.andThen(swap, Effect.sleep(2))))
      for (let query = 0; query < 25; query++) {
        const [[left, right]] = (yield* rows({ sql: "from gold.left l, gold.right r" })) as [[number, number]]
        assert.strictEqual(left, right)
      }
      yield* Fiber.interrupt(writer)
      assert.isAbove(version, 5)
    }),
  )

  it.effect("an answer in each format has the same rows, and can be read by others", () =>
    Effect.gen(function* () {
      yield* publish(
        "default.bronze.numbers",
        "select i::int as id, 'row ' || i as name, i / 4 as q from range(5000) t(i)",
      )
      const sql = "select * from bronze.numbers order by id"
      const expected = Array.from({ length: 5000 }, (_, id) => [id, `row ${id}`, id / 4])
      const question = { sql, limit: Number.MAX_SAFE_INTEGER }
      const arrays = yield* ask({ ...question, format: "arrays" })
      assert.deepStrictEqual(
        arrays.columns.map(({ name, type }) => `${name} ${type}`),
        ["id INTEGER", "name VARCHAR", "q DOUBLE"],
      )
      assert.deepInclude(arrays, { rows: 5000, truncated: false, contentType: "application/json" })
      assert.deepStrictEqual(JSON.parse(arrays.body.toString()), expected)
      const objects = yield* ask({ ...question, format: "objects" })
      assert.deepStrictEqual(JSON.parse(objects.body.toString())[7], { id: 7, name: "row 7", q: 1.75 })

      const arrow = yield* ask({ ...question, format: "arrow" })
      assert.strictEqual(arrow.contentType, "application/vnd.apache.arrow.stream")
      const table = tableFromIPC(arrow.body)
      assert.deepStrictEqual(
        table.toArray().map((row) => Object.values(row.toJSON())),
        expected,
      )

      const { folder } = yield* TestQuery
      const connection = yield* Effect.promise(async () => (await DuckDBInstance.create(":memory:")).connect())
      for (const format of ["csv", "parquet"] as const) {
        const answer = yield* ask({ ...question, format })
        assert.deepInclude(answer, { rows: 5000, truncated: false })
        const path = join(folder, `result.${format}`)
        writeFileSync(path, answer.body)
        const read = yield* Effect.promise(() =>
          connection.runAndReadAll(`select id::int, name, q from '${path}' order by 1`),
        )
        assert.deepStrictEqual(read.getRows(), expected as never)
      }
    }),
  )

  it.effect("the limit cuts the answer and says so, in every format", () =>
    Effect.gen(function* () {
      for (const format of ["arrays", "objects", "csv", "arrow", "parquet"] as const) {
        const cut = yield* ask({ sql: "select i from range(10000000) t(i)", limit: 3000, format })
        assert.deepInclude(cut, { rows: 3000, truncated: true }, format)
        const whole = yield* ask({ sql: "select i from range(5) t(i)", limit: 3000, format })
        assert.deepInclude(whole, { rows: 5, truncated: false }, format)
      }
      const nothing = yield* ask({ sql: "select 1 as a", limit: 0 })
      assert.deepInclude(nothing, { rows: 0, truncated: true })
      assert.strictEqual(nothing.body.toString(), "[]")
    }),
  )

  it.effect("DESCRIBE, SHOW, SUMMARIZE, EXPLAIN and PIVOT work on tables, and EXPLAIN as Parquet is refused", () =>
    Effect.gen(function* () {
      yield* publish("default.bronze.things", "select i::int as id, 'k' || (i % 2) as kind from range(4) t(i)")
      assert.deepStrictEqual(yield* rows({ sql: "describe bronze.things" }), [
        ["id", "INTEGER", "YES", null, null, null],
        ["kind", "VARCHAR", "YES", null, null, null],
      ])
      assert.deepInclude((yield* rows({ sql: "show tables" })) as Array<unknown>, ["bronze.things"])
      assert.strictEqual((yield* rows({ sql: "summarize default.bronze.things" })).length, 2)
      assert.match((yield* ask({ sql: "explain from bronze.things" })).body.toString(), /READ_PARQUET/)
      assert.match((yield* ask({ sql: "explain analyze from bronze.things" })).body.toString(), /Total Time/)
      assert.deepStrictEqual(
        yield* rows({ sql: "pivot (select kind, 1 as g from bronze.things) on kind using count(*) group by g" }),
        [[1, "2", "2"]],
      )
      assert.deepStrictEqual(
        yield* rows({
          sql: "select table_name, table_schema from information_schema.tables where table_name = 'things'",
        }),
        [["things", "bronze"]],
      )
      const named = yield* rows({ sql: "select column_name from duckdb_columns() where table_name = 'things'" })
      assert.deepStrictEqual(named, [["id"], ["kind"]])
      assert.match((yield* refusal({ sql: "explain select 1", format: "parquet" })).message, /JSON or CSV/)
    }),
  )

  it.effect("an error has DuckDB's words and the place in the text that was sent", () =>
    Effect.gen(function* () {
      yield* publish("default.bronze.orders", "select 1 as id")
      const place = (sql: string, word: string) => {
        const position = sql.indexOf(word)
        const before = sql.slice(0, position)
        return { position, line: before.split("\n").length, column: position - before.lastIndexOf("\n") }
      }
      for (const [sql, word, reason] of [
        ["select nope from default.bronze.orders", "nope", /Referenced column "nope" not found/],
        ["select 'ü🦆' as x,\n  nope\nfrom default.bronze.orders", "nope", /Referenced column/],
        ["select *\nfrom default.bronze.orders\nwhere nope", "nope", /Referenced column/],
        ["select * frm x", "x", /syntax error/],
        ["selec 1", "selec", /syntax error at or near "selec"/],
        ["explain select nope", "nope", /not found/],
        ["select 'x'::int", "::", /Could not convert string 'x' to INT32/],
        [
          "from bronze.ordrs",
          "bronze",
          /Table with name ordrs does not exist on main!\nDid you mean "bronze.orders"\?/,
        ],
        ["from orders", "orders", /Did you mean "bronze.orders"/],
      ] as const) {
        const error = yield* refusal({ sql })
        assert.match(error._tag === "QueryInvalid" ? error.reason : "", reason, sql)
        assert.deepInclude(error, place(sql, word), sql)
      }
      assert.match((yield* refusal({ sql: "from nowhere.bronze.orders" })).message, /Namespace "nowhere" has no tables/)
      assert.match((yield* refusal({ sql: "from defalt.bronze.orders" })).message, /Did you mean "default"/)
    }),
  )

  it.effect("a store that fails is an outage, said without its paths; it is over when the store works", () =>
    Effect.gen(function* () {
      yield* publish("default.silver.unreadable", "select 1 as id")
      const { folder } = yield* TestQuery
      const data = join(folder, "store/default/silver/unreadable/data")
      const file = join(data, readdirSync(data)[0]!)
      renameSync(file, `${file}.away`)
      symlinkSync(file, file) // a link to itself: ELOOP
      const error = yield* refusal({ sql: "from silver.unreadable" })
      assert.strictEqual(error._tag, "QueryUnavailable")
      assert.match(error.message, /object store could not be used/)
      assert.notInclude(error.message, folder)
      rmSync(file)
      renameSync(`${file}.away`, file)
      assert.deepStrictEqual(yield* rows({ sql: "from silver.unreadable" }), [[1]])
    }),
  )

  it.effect("a query is stopped at its time limit, and the slot is free again", () =>
    Effect.gen(function* () {
      const started = performance.now()
      const error = yield* refusal({ sql: endless, timeoutMs: 200 })
      assert.deepInclude(error, { _tag: "QueryTimedOut", timeoutMs: 200 })
      assert.isBelow(performance.now() - started, 500)
      assert.deepStrictEqual(yield* rows({ sql: "select 1" }), [[1]])
    }),
  )

  it.effect("when the caller leaves, the statement stops within 200 ms and its slot serves others", () =>
    Effect.gen(function* () {
      const { client } = yield* TestQuery
      yield* idle
      const replaced = (yield* client.Health()).replaced
      const fibers = yield* Effect.forEach([1, 2], () => Effect.forkChild(ask({ sql: endless })))
      while ((yield* client.Health()).free > 0) yield* Effect.sleep(5)
      yield* Effect.sleep(200)
      const started = performance.now()
      yield* Effect.forEach(fibers, Fiber.interrupt)
      // Both slots were taken, so this answer waits for one of them to stop.
      assert.deepStrictEqual(yield* rows({ sql: "select 1" }), [[1]])
      assert.isBelow(performance.now() - started, 200)
      assert.strictEqual((yield* client.Health()).replaced, replaced)
    }),
  )

  it.effect("a caller that stops reading a long result stops the statement", () =>
    Effect.gen(function* () {
      const { client } = yield* TestQuery
      const request = requestOf({
        sql: "select i from range(1000000000) t(i)",
        limit: Number.MAX_SAFE_INTEGER,
        format: "csv",
      })
      const pieces = yield* (client.Query(request) as Stream.Stream<QueryHead | QueryBody | QueryTail, unknown>).pipe(
        Stream.take(3),
        Stream.runCollect,
      )
      assert.strictEqual(pieces.length, 3)
      const started = performance.now()
      while ((yield* client.Health()).free < 2) yield* Effect.sleep(5)
      assert.isBelow(performance.now() - started, 200)
    }),
  )

  it.effect("a query that needs too much memory fails alone, with advice", () =>
    Effect.gen(function* () {
      yield* idle
      const neighbour = yield* Effect.forkChild(
        rows({ sql: "select count(*)::int from range(200000000) t(i) where i % 3 = 0" }),
      )
      const error = yield* refusal({ sql: "select list(repeat('x', 1000) || i) from range(1000000) t(i)" })
      assert.strictEqual(error._tag, "QueryResources")
      assert.match(error.message, /286 MiB of memory/)
      assert.deepStrictEqual(yield* Fiber.join(neighbour), [[66666667]])
    }),
  )

  it.effect("a query whose process is killed says so, and the next one finds another process", () =>
    Effect.gen(function* () {
      const { client } = yield* TestQuery
      yield* idle
      const query = yield* Effect.forkChild(refusal({ sql: endless }))
      while ((yield* client.Health()).free > 1) yield* Effect.sleep(5)
      yield* Effect.sleep(100)
      for (const pid of yield* slotProcesses) process.kill(pid, "SIGKILL")
      const error = yield* Fiber.join(query)
      assert.strictEqual(error._tag, "QueryResources")
      assert.match(error.message, /process that executed the query ended: SIGKILL, it was killed from outside/)
      yield* idle
      assert.deepStrictEqual(yield* rows({ sql: "select 1" }), [[1]])
    }),
  )

  it.effect("a Parquet result that is too large for the disk is refused", () =>
    Effect.gen(function* () {
      const error = yield* refusal({
        sql: "select hash(i) as a, hash(i + 1) as b from range(100000000) t(i)",
        format: "parquet",
        limit: Number.MAX_SAFE_INTEGER,
      })
      assert.strictEqual(error._tag, "QueryResources")
      assert.match(error.message, /larger than 95 MiB/)
    }),
  )

  it.effect("when the line is full a query is turned away with a time to come again", () =>
    Effect.gen(function* () {
      const { client } = yield* TestQuery
      yield* idle
      const running = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(ask({ sql: endless })))
      while ((yield* client.Health()).waiting < 1) yield* Effect.sleep(5)
      const error = yield* refusal({ sql: "select 1" })
      assert.deepInclude(error, { _tag: "QueryBusy", retryAfterSeconds: 1 })
      yield* Effect.forEach(running, Fiber.interrupt)
      assert.deepStrictEqual(yield* rows({ sql: "select 1" }), [[1]])
    }),
  )

  it.effect("Describe gives the columns of a table, or says that there is none", () =>
    Effect.gen(function* () {
      const { client } = yield* TestQuery
      yield* publish("default.gold.described", "select 1::bigint as a, [1.5] as b")
      const key = (name: string) => Schema.decodeUnknownSync(TableKey)({ namespace: "default", layer: "gold", name })
      const columns = yield* client.Describe({ table: key("described"), ref: mainRef })
      assert.deepStrictEqual(
        columns.map(({ name, type }) => `${name} ${type}`),
        ["a BIGINT", "b DECIMAL(2,1)[]"],
      )
      const missing = yield* Effect.flip(client.Describe({ table: key("missing"), ref: mainRef }))
      assert.strictEqual(missing._tag, "TableNotFound")
    }),
  )
})
