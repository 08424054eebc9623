import { spawn } from "node:child_process"
import { join } from "node:path"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { assert, layer } from "@effect/vitest"
import { mainRef, RefName } from "@rat/domain"
import { Effect, Layer, Redacted } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { PgConfig } from "../postgres/PgConfig.ts"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { readTable, TestDuckDb, TestTables } from "../write/TestTable.ts"
import { type WorkerAnswer, type Workload, workTable, writeOn } from "./BranchWorker.ts"
import { Catalog } from "./Catalog.ts"
import { catalogMigrations } from "./CatalogMigrations.ts"
import { PostgresCatalog } from "./PostgresCatalog.ts"

/** Processes of each workload, and rounds of each process. */
const processes = Number(process.env.RAT_TEST_WORKLOAD_PROCESSES ?? 3)
const rounds = Number(process.env.RAT_TEST_WORKLOAD_ROUNDS ?? 4)

const worker = fileURLToPath(new URL("./BranchWorker.ts", import.meta.url))

/** Runs a workload in as many processes as asked for, which begin at the same moment. */
const together = Effect.fnUntraced(function* (workload: Workload, table: string) {
  const { url } = yield* PgConfig
  const { folder } = yield* TestDuckDb
  const env = { ...process.env, DATABASE_URL: Redacted.value(url), DB_MIN_CONNS: "0", DB_MAX_CONNS: "4" }
  return yield* Effect.promise(async () => {
    const started = Array.from({ length: processes }, (_, index) => {
      const args = [worker, workload, table, String(index), String(rounds), join(folder, "store")]
      const child = spawn(process.execPath, args, { env, stdio: ["pipe", "pipe", "pipe"] })
      let complaints = ""
      child.stderr.on("data", (chunk) => {
        complaints += chunk
      })
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      const next = async () => {
        const { done, value } = await lines.next()
        if (done === true) throw new Error(`worker ${index} of ${workload} ended early: ${complaints}`)
        return value
      }
      return { child, next }
    })
    try {
      for (const { next } of started) assert.strictEqual(await next(), "ready")
      for (const { child } of started) child.stdin.write("go\n")
      return await Promise.all(started.map(async ({ next }) => JSON.parse(await next()) as WorkerAnswer))
    } finally {
      for (const { child } of started) child.kill("SIGKILL")
    }
  })
})

const begin = (table: string) => writeOn(mainRef, table, "select 1 as id, 0 as value", "append", `${table}-base`)

const pointerOf = (table: string) => Effect.flatMap(Catalog, (catalog) => catalog.table(mainRef, workTable(table)))

const rowsOf = Effect.fnUntraced(function* (table: string) {
  const pointer = yield* pointerOf(table)
  return yield* readTable(pointer!.metadataLocation, { suffix: "order by id" })
})

/** Every row that the processes wrote is there, once, and no branch is left. */
const checkAll = Effect.fnUntraced(function* (table: string, answers: ReadonlyArray<WorkerAnswer>) {
  const catalog = yield* Catalog
  assert.deepStrictEqual(
    answers.flatMap(({ conflicts }) => conflicts),
    [],
  )
  const commits = answers.flatMap((answer) => answer.commits)
  assert.strictEqual(new Set(commits).size, processes * rounds)
  const wanted = Array.from({ length: processes }, (_, index) =>
    Array.from({ length: rounds }, (__, round) => 1000 + index * 1000 + round),
  ).flat()
  assert.deepStrictEqual(
    (yield* rowsOf(table)).map(({ id }) => id),
    [1, ...wanted],
  )
  assert.strictEqual((yield* pointerOf(table))!.rowCount, wanted.length + 1)
  const left = (yield* catalog.refs({ limit: 200 })).filter(({ name }) => name.startsWith(table))
  assert.deepStrictEqual(left, [])
})

const testLayer = Layer.merge(PostgresCatalog.layer, TestTables).pipe(
  Layer.provideMerge(TestPostgres.layer(catalogMigrations)),
)

layer(testLayer, { excludeTestServices: true, timeout: "2 minutes" })("Several processes with one catalog", (it) => {
  const timeout = 120_000

  it.effect(
    "that each branch, write a row of their own, merge and delete the branch: every row is on main once",
    () =>
      Effect.gen(function* () {
        yield* begin("disjoint")
        yield* checkAll("disjoint", yield* together("disjoint", "disjoint"))
      }),
    timeout,
  )

  it.effect(
    "merges that race with commits straight on main lose nothing and double nothing",
    () =>
      Effect.gen(function* () {
        yield* begin("racing")
        yield* checkAll("racing", yield* together("commits", "racing"))
      }),
    timeout,
  )

  it.effect(
    "the identical merge by all of them happens once, and all are answered with the same commit",
    () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        yield* begin("identical")
        const branch = RefName.make("identical")
        yield* catalog.createBranch(branch, { from: mainRef })
        yield* writeOn(branch, "identical", "select 2 as id, 0 as value", "append", "identical-branch")
        yield* writeOn(mainRef, "identical", "select 3 as id, 0 as value", "append", "identical-main")
        const answers = yield* together("prepared", "identical")
        assert.strictEqual(answers.flatMap(({ commits }) => commits).length, processes)
        assert.strictEqual(new Set(answers.flatMap(({ commits }) => commits)).size, 1)
        assert.deepStrictEqual(
          (yield* rowsOf("identical")).map(({ id }) => id),
          [1, 2, 3],
        )
      }),
    timeout,
  )

  it.effect(
    "the same key changed on each branch: one wins, the others are told, and main holds the winner's row",
    () =>
      Effect.gen(function* () {
        yield* begin("same-key")
        const answers = yield* together("overwrite", "same-key")
        const winner = answers.findIndex(({ commits }) => commits.length === 1)
        assert.strictEqual(answers.filter(({ commits }) => commits.length === 1).length, 1)
        const reasons = answers.flatMap(({ conflicts }) => conflicts)
        assert.strictEqual(reasons.length, processes - 1)
        for (const reason of reasons) assert.match(reason, /changed rows that were there \(overwrite\)/)
        assert.deepStrictEqual(
          (yield* rowsOf("same-key")).map(({ id, value }) => [id, value]),
          [[1, winner]],
        )
      }),
    timeout,
  )

  it.effect(
    "a column added on each branch: one wins, the others are told which columns, and no field id is there twice",
    () =>
      Effect.gen(function* () {
        const tables = yield* IcebergTable
        yield* begin("columns")
        const answers = yield* together("column", "columns")
        const winner = answers.findIndex(({ commits }) => commits.length === 1)
        const reasons = answers.flatMap(({ conflicts }) => conflicts)
        assert.strictEqual(reasons.length, processes - 1)
        for (const reason of reasons) {
          assert.match(reason, new RegExp(`columns changed on both sides .*column_\\d.*column_${winner}`))
        }
        const metadata = yield* tables.load((yield* pointerOf("columns"))!.metadataLocation)
        const schema = metadata.schemas.find(({ schemaId }) => schemaId === metadata.currentSchemaId)!
        assert.deepStrictEqual(
          schema.fields.map(({ name }) => name),
          ["id", "value", `column_${winner}`],
        )
        assert.strictEqual(new Set(schema.fields.map(({ id }) => id)).size, 3)
      }),
    timeout,
  )
})
