import { fork } from "node:child_process"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, layer } from "@effect/vitest"
import { mainRef, RefName } from "@rat/domain"
import { DateTime, Effect, Layer, Redacted, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { Catalog } from "../catalog/Catalog.ts"
import { catalogMigrations } from "../catalog/CatalogMigrations.ts"
import { PostgresCatalog } from "../catalog/PostgresCatalog.ts"
import { Rebase } from "../catalog/Rebase.ts"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { sweepOrphans } from "../maintenance/OrphanSweep.ts"
import { reachableFrom } from "../maintenance/Reachability.ts"
import { PgConfig } from "../postgres/PgConfig.ts"
import { TestPostgres } from "../postgres/TestPostgres.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { TestMerges } from "../write/TestMerge.ts"
import { TestDuckDb } from "../write/TestTable.ts"
import type { CrashJob } from "./CrashProcess.ts"
import { type CrashRun, crashKey, crashRun, writeMain } from "./CrashRun.ts"

/*
 * A process writes a table as a run does (branch, files, commit, merge) over a store and a Postgres that others share, and is killed
 * before each of its steps in turn.
 */

const processesAtOnce = 3

const Test = Rebase.layer.pipe(
  Layer.provideMerge(Layer.mergeAll(PostgresCatalog.layer, TestMerges)),
  Layer.provideMerge(TestPostgres.layer(catalogMigrations)),
)

type Ending = { readonly taken: number } | "killed"

const perform = (job: CrashJob, scratch: string) =>
  Effect.callback<Ending>((resume) => {
    mkdirSync(scratch, { recursive: true })
    const child = fork(fileURLToPath(new URL("./CrashProcess.ts", import.meta.url)), [], {
      // Most of such a process's life goes into loading its modules; those that end by themselves leave them to the others.
      env: { ...process.env, TMPDIR: scratch, NODE_COMPILE_CACHE: join(scratch, "..", "modules") },
      execArgv: [],
    })
    let answer: { readonly taken?: number; readonly error?: string } | undefined
    child.once("message", (message) => {
      answer = message as typeof answer
    })
    child.once("exit", (code, signal) => {
      if (signal === "SIGKILL") resume(Effect.succeed("killed"))
      else if (answer?.taken !== undefined) resume(Effect.succeed({ taken: answer.taken }))
      else resume(Effect.die(new Error(answer?.error ?? `the process ended with ${code} ${signal}`)))
    })
    child.send(job)
    return Effect.sync(() => void child.kill("SIGKILL"))
  })

const values = (rows: ReadonlyArray<readonly [id: number, p: number, v: string]>) =>
  `select * from (values ${rows.map(([id, p, v]) => `(${id}, ${p}, '${v}')`).join(", ")}) as t(id, p, v)`

interface Scenario {
  readonly name: string
  /** Made before, each by one commit on main. */
  readonly before: ReadonlyArray<{ readonly strategy: string; readonly query: string }>
  readonly merge: CrashRun["merge"]
  readonly others: string | null
  /** Rows of the table as `id p v`: before, with what others wrote, and after the run. */
  readonly states: { readonly old: string; readonly moved: string; readonly done: string }
}

const table = { formatVersion: 2, partitionBy: [{ column: "p", transform: "identity" }] } as const
const settings = { uniqueKey: ["id"] }
const first = values([
  [1, 1, "a"],
  [2, 1, "b"],
  [3, 2, "c"],
  [4, 2, "d"],
])
const second = values([
  [5, 1, "e"],
  [6, 2, "f"],
])

const scenarios: ReadonlyArray<Scenario> = [
  {
    name: "a merge into a partitioned table",
    before: [
      { strategy: "full_refresh", query: first },
      { strategy: "append_only", query: second },
    ],
    merge: {
      ...table,
      strategy: "incremental",
      settings,
      query: values([
        [1, 1, "A"],
        [7, 2, "g"],
      ]),
    },
    others: null,
    states: {
      old: "1 1 a,2 1 b,3 2 c,4 2 d,5 1 e,6 2 f",
      moved: "1 1 a,2 1 b,3 2 c,4 2 d,5 1 e,6 2 f",
      done: "1 1 A,2 1 b,3 2 c,4 2 d,5 1 e,6 2 f,7 2 g",
    },
  },
  {
    name: "a merge with deletion vectors and a new column",
    before: [{ strategy: "full_refresh", query: first }],
    merge: {
      formatVersion: 3,
      strategy: "delete_insert",
      settings,
      folds: false,
      query: `select *, 7 as more from (${values([[2, 1, "B"]])})`,
    },
    others: null,
    states: {
      old: "1 1 a,2 1 b,3 2 c,4 2 d",
      moved: "1 1 a,2 1 b,3 2 c,4 2 d",
      done: "1 1 a,2 1 B,3 2 c,4 2 d",
    },
  },
  {
    name: "an append that is put upon one that others made",
    before: [{ strategy: "full_refresh", query: first }],
    merge: { strategy: "append_only", folds: false, query: second },
    others: values([[9, 9, "other"]]),
    states: {
      old: "1 1 a,2 1 b,3 2 c,4 2 d",
      moved: "1 1 a,2 1 b,3 2 c,4 2 d,9 9 other",
      done: "1 1 a,2 1 b,3 2 c,4 2 d,5 1 e,6 2 f,9 9 other",
    },
  },
]

const stateOf = Effect.fnUntraced(function* (name: string) {
  const catalog = yield* Catalog
  const pointer = yield* catalog.table(mainRef, crashKey(name))
  const planner = yield* ScanPlanner
  const duck = yield* TestDuckDb
  const plan = yield* planner.plan(pointer!.metadataLocation)
  const paths = new Map<string, string>()
  for (const location of plan.locations) paths.set(location, yield* Effect.scoped(planner.localPath(location)))
  const rows = yield* duck.rows(
    `select id, p, v from (${plan.relation((location) => paths.get(location)!)}) order by id`,
  )
  assert.strictEqual(pointer!.rowCount, rows.length)
  return rows.map(({ id, p, v }) => `${id} ${p} ${v}`).join()
})

const branches = Effect.flatMap(Catalog, (catalog) =>
  Effect.map(catalog.refs({ limit: 1000 }), (refs) => refs.map(({ name }) => name as string)),
)

/** Removes what nothing needs, and answers with how many objects those were. */
const sweep = Effect.gen(function* () {
  const sql = yield* SqlClient.SqlClient
  const known = new Set<string>()
  const note = (objects: ReadonlyArray<{ readonly key: string }>) =>
    Effect.sync(() => {
      const due = objects.flatMap(({ key }) => (known.has(key) ? [key] : []))
      for (const { key } of objects) known.add(key)
      return new Set(due)
    })
  const round = Effect.gen(function* () {
    const rows = yield* sql<{
      readonly location: string
    }>`select location from catalog_reachable('', 100000) as location`
    const reachable = yield* reachableFrom({ tables: Stream.fromIterable(rows.map(({ location }) => location)) })
    assert.deepStrictEqual(reachable.unreadable, [])
    return yield* sweepOrphans({
      reachable,
      ledger: { note, look: note, forget: () => Effect.void, finish: Effect.void },
      needed: () => Effect.succeed(new Set()),
      graceMs: 0,
      dryRun: false,
    })
  })
  const [, second, third] = [yield* round, yield* round, yield* round]
  assert.deepStrictEqual(third.waiting.objects + third.removed.objects, 0)
  assert.strictEqual(third.objects, third.liveObjects)
  return second.removed.objects
})

layer(Test, { excludeTestServices: true })("A run whose process is killed", (it) => {
  it.effect(
    "before any step leaves main as it was or as it should be, is done once by its repetition, and leaves nothing behind",
    () =>
      Effect.gen(function* () {
        const { folder } = yield* TestDuckDb
        const { url } = yield* PgConfig
        const catalog = yield* Catalog
        const job = { url: Redacted.value(url), root: join(folder, "store") }
        let cases = 0

        /** One process that lives for some steps, and everything that comes after it. */
        const live = Effect.fnUntraced(function* (scenario: Scenario, steps: number | null) {
          const { before, merge, others, states } = scenario
          const name = `t${++cases}`
          const at = `${scenario.name}, killed before step ${steps}`
          for (const [index, { query, strategy }] of before.entries()) {
            yield* writeMain(catalog, name, { ...merge, strategy, query }, `${name}-before-${index}`)
          }
          const run: CrashRun = { runId: `${name}-run`, attempt: 1, table: name, merge, others }
          assert.strictEqual(yield* stateOf(name), states.old)
          const ending = yield* perform({ ...job, run, steps }, join(folder, `scratch-${name}`))
          const state = yield* stateOf(name)
          return { at, ending, name, run, state }
        })

        const killed = Effect.fnUntraced(function* (scenario: Scenario, steps: number, all: number) {
          const { states } = scenario
          const { at, ending, name, run, state } = yield* live(scenario, steps)
          assert.strictEqual(ending, "killed", at)
          // The last step but one is the merge.
          if (steps === all - 1) assert.strictEqual(state, states.done, at)
          else assert.include([states.old, states.moved], state, at)
          const isMoved = state !== states.old
          const branch = RefName.make(`run-${run.runId}`)
          if (steps % 2 === 0) {
            // The branch of a run that nobody takes up again ends when its time has come.
            yield* catalog.expireBranch(branch, DateTime.makeUnsafe(0))
            yield* catalog.collectExpired(1000)
            assert.notInclude(yield* branches, branch as string, at)
          }
          yield* crashRun({ ...run, attempt: 2, others: isMoved ? null : run.others }, catalog)
          assert.strictEqual(yield* stateOf(name), states.done, `${at}, and repeated`)
          if (steps % 3 > 0) return
          yield* crashRun({ ...run, attempt: 3, others: null }, catalog)
          assert.strictEqual(yield* stateOf(name), states.done, `${at}, and repeated twice`)
        })

        const whole = yield* Effect.forEach(
          scenarios,
          (scenario) =>
            Effect.gen(function* () {
              const { ending, state } = yield* live(scenario, null)
              assert.strictEqual(state, scenario.states.done, scenario.name)
              return { scenario, steps: ending === "killed" ? 0 : ending.taken }
            }),
          { concurrency: processesAtOnce },
        )
        const kills = whole.flatMap(({ scenario, steps }) =>
          Array.from({ length: steps }, (_, index) => ({ scenario, index, steps })),
        )
        assert.isAbove(kills.length, 20)
        yield* Effect.forEach(kills, ({ index, scenario, steps }) => killed(scenario, index, steps), {
          concurrency: processesAtOnce,
          discard: true,
        })

        assert.deepStrictEqual(yield* branches, ["main"])
        assert.isAbove(yield* sweep, kills.length)
        // Readers that remember nothing find everything still there.
        const tables = yield* catalog.tables(mainRef)
        assert.strictEqual(tables.length, cases)
        for (const { key } of tables) {
          const state = yield* stateOf(key.name).pipe(
            Effect.provide(Layer.fresh(ScanPlanner.layer.pipe(Layer.provideMerge(IcebergTable.layer)))),
          )
          assert.isTrue(scenarios.some(({ states }) => states.done === state))
        }
      }),
    120_000,
  )
})
