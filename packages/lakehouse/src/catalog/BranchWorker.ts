import { once } from "node:events"
import { createInterface } from "node:readline"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { Effect, Layer, References, Result } from "effect"
import { IcebergTable, type TableCommit } from "../iceberg/IcebergTable.ts"
import { Pg } from "../postgres/Pg.ts"
import { PgConfig } from "../postgres/PgConfig.ts"
import { FileStore } from "../store/FileStore.ts"
import { TestDuckDb, writeTable } from "../write/TestTable.ts"
import { Catalog } from "./Catalog.ts"
import { PostgresCatalog } from "./PostgresCatalog.ts"
import { Rebase } from "./Rebase.ts"

/** What a process of `BranchWorkloads.test.ts` does. Test support only. */
export type Workload = "disjoint" | "commits" | "prepared" | "overwrite" | "column"

/** What it answers with, as a line of JSON. */
export interface WorkerAnswer {
  /** Ids of the commits on main that it made, or was answered with. */
  readonly commits: ReadonlyArray<string>
  /** Why its merges were refused. */
  readonly conflicts: ReadonlyArray<string>
}

export const workTable = (name: string) =>
  new TableKey({ namespace: NamespaceName.make("ns"), layer: "silver", name: PipelineName.make(name) })

const by = (message: string) => ({ message, author: "worker", runId: null })

/** The table on a ref gets what a query gives: appended, or instead of what it has. */
export const writeOn = Effect.fnUntraced(function* (
  ref: RefName,
  name: string,
  query: string,
  operation: "append" | "overwrite",
  id: string,
) {
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const pointer = yield* catalog.table(ref, workTable(name))
  const base =
    pointer === null
      ? null
      : ({
          metadataLocation: pointer.metadataLocation,
          metadata: yield* tables.load(pointer.metadataLocation),
        } as TableCommit)
  const made = yield* writeTable({ name, query, runId: id, operation, base })
  return yield* catalog.commit(ref, {
    ...by(id),
    changes: [
      {
        key: workTable(name),
        expected: pointer?.metadataLocation ?? null,
        next: {
          metadataLocation: made.metadataLocation,
          snapshotId: String(made.snapshotId),
          rowCount: made.totalRecords,
          sizeBytes: made.totalSizeBytes,
        },
      },
    ],
  })
})

/** Merges as the server does: what only got rows on both sides is put upon main's version. */
const mergeBranch = Effect.fnUntraced(function* (branch: RefName) {
  const catalog = yield* Catalog
  const rebase = yield* Rebase
  for (;;) {
    const outcome = yield* Effect.result(catalog.merge(branch, by(branch)))
    if (Result.isSuccess(outcome)) return { commit: String(outcome.success?.id), conflict: null }
    if (outcome.failure._tag !== "CatalogConflict") return yield* outcome.failure
    const reasons = yield* rebase.branch(
      branch,
      outcome.failure.tables.map((table) => workTable(table.split(".")[2]!)),
    )
    if (reasons.length > 0) return { commit: null, conflict: reasons[0]!.reason }
  }
})

const work = Effect.fnUntraced(function* (
  workload: Workload,
  table: string,
  worker: number,
  rounds: number,
  started: Effect.Effect<void>,
) {
  const catalog = yield* Catalog
  const answer = { commits: [] as Array<string>, conflicts: [] as Array<string> }
  const merge = Effect.fnUntraced(function* (branch: RefName) {
    const { commit, conflict } = yield* mergeBranch(branch)
    if (commit !== null) answer.commits.push(commit)
    if (conflict !== null) answer.conflicts.push(conflict)
  })
  if (workload === "prepared") {
    yield* started
    yield* merge(RefName.make(table))
    return answer
  }
  if (workload === "overwrite" || workload === "column") {
    const branch = RefName.make(`${table}-${worker}`)
    yield* catalog.createBranch(branch, { from: mainRef })
    const query =
      workload === "overwrite"
        ? `select 1 as id, ${worker} as value`
        : `select ${worker + 10} as id, 0 as value, 'new' as column_${worker}`
    yield* writeOn(branch, table, query, workload === "overwrite" ? "overwrite" : "append", `${table}-${worker}`)
    yield* started
    yield* merge(branch)
    return answer
  }
  yield* started
  for (let round = 0; round < rounds; round++) {
    const id = `${table}-${worker}-${round}`
    const row = `select ${1000 + worker * 1000 + round} as id, ${worker} as value`
    if (workload === "commits" && worker % 2 === 0) {
      // Straight on main, again and again until nobody was faster.
      let tries = 0
      const commit = yield* Effect.suspend(() => writeOn(mainRef, table, row, "append", `${id}-${tries++}`)).pipe(
        Effect.retry({ while: (error) => "_tag" in error && error._tag === "CatalogConflict" }),
      )
      answer.commits.push(String(commit.id))
      continue
    }
    const branch = RefName.make(id)
    yield* catalog.createBranch(branch, { from: mainRef })
    yield* writeOn(branch, table, row, "append", id)
    yield* merge(branch)
    yield* catalog.deleteRef(branch)
  }
  return answer
})

/** Says `ready`, and goes on when a line comes. */
const started = Effect.promise(async () => {
  const lines = createInterface({ input: process.stdin })
  process.stdout.write("ready\n")
  await once(lines, "line")
  lines.close()
})

const main = Effect.gen(function* () {
  const [workload, table, worker, rounds, root] = process.argv.slice(2) as [Workload, string, string, string, string]
  const tables = Rebase.layer.pipe(
    Layer.provideMerge(Layer.merge(PostgresCatalog.layer, IcebergTable.layer)),
    Layer.provideMerge(FileStore.layer({ root })),
    Layer.provideMerge(TestDuckDb.layer),
    Layer.provideMerge(Pg.layer),
    Layer.provide(PgConfig.layer("unused")),
  )
  const answer: WorkerAnswer = yield* work(workload, table, Number(worker), Number(rounds), started).pipe(
    Effect.provide(tables),
  )
  process.stdout.write(`${JSON.stringify(answer)}\n`)
})

if (import.meta.main) {
  await Effect.runPromise(main.pipe(Effect.scoped, Effect.provideService(References.MinimumLogLevel, "Error")))
  process.exit()
}
