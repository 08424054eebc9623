import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { IcebergTable } from "../iceberg/IcebergTable.ts"
import { totalsOf, totalsOfSummary } from "../iceberg/SnapshotSummary.ts"
import type { Comparison } from "../scan/Predicate.ts"
import { ScanPlanner } from "../scan/ScanPlanner.ts"
import { quoteText } from "../scan/SqlText.ts"
import { TestDuckDb } from "../write/TestTable.ts"
import { type Content, duckTypeOfColumn, type ModelVersion, shownRows, shownSql } from "./ModelTable.ts"
import { type Dice, pick } from "./RandomRun.ts"

/** A table's rows as readers get them, at a snapshot or now, read through the planner. */
export const readShown = Effect.fnUntraced(function* (
  metadataLocation: string,
  content: Content,
  options: { readonly snapshotId?: bigint; readonly predicate?: Comparison } = {},
) {
  const planner = yield* ScanPlanner
  const duck = yield* TestDuckDb
  const { predicate, snapshotId } = options
  const plan = yield* planner.plan(metadataLocation, {
    ...(snapshotId === undefined ? {} : { snapshotId }),
    ...(predicate === undefined ? {} : { predicates: [predicate] }),
  })
  assert.deepStrictEqual(
    plan.columns.map(({ name, type }) => `${name} ${type}`),
    content.columns.map((column) => `${column.name} ${duckTypeOfColumn(column)}`),
  )
  const paths = new Map<string, string>()
  for (const location of plan.locations) paths.set(location, yield* Effect.scoped(planner.localPath(location)))
  const pathOf = (location: string) => paths.get(location)!
  const rows = (where: string) =>
    Effect.map(duck.rows(`select ${shownSql(content.columns)} from (${plan.relation(pathOf)}) ${where}`), (found) =>
      found.map((row) => JSON.stringify(content.columns.map(({ name }) => row[name] ?? null))).sort(),
    )
  return { plan, pathOf, rows }
})

/** A snapshot, or the table as it is, is what the model says. */
export const checkContent = Effect.fnUntraced(function* (
  metadataLocation: string,
  content: Content,
  snapshotId?: bigint,
) {
  const { plan, rows } = yield* readShown(metadataLocation, content, snapshotId === undefined ? {} : { snapshotId })
  assert.deepStrictEqual(yield* rows(""), shownRows(content))
  assert.strictEqual(plan.rowCount, content.rows.length, "rows that metadata counts")
})

/** A random comparison finds the same rows with pruning as without. */
export const checkPruning = Effect.fnUntraced(function* (dice: Dice, version: ModelVersion) {
  const columns = version.columns.filter(({ kind }) => kind !== "moment")
  const column = pick(dice, columns)
  const row = version.rows.length === 0 ? undefined : pick(dice, version.rows)
  const value = row?.get(column.identity) ?? null
  const op =
    value === null ? pick(dice, ["is null", "is not null"] as const) : pick(dice, ["=", "<", "<=", ">", ">="] as const)
  const where =
    value === null
      ? `"${column.name}" ${op}`
      : `"${column.name}" ${op} ${quoteText(value)}::${duckTypeOfColumn(column)}`
  const text = column.kind === "date" && column.isWide && value?.includes(" ") === false ? `${value} 00:00:00` : value
  const predicate: Comparison =
    text === null ? { column: column.name, op } : ({ column: column.name, op, value: text } as Comparison)
  const whole = yield* readShown(version.metadataLocation, version)
  const pruned = yield* readShown(version.metadataLocation, version, { predicate })
  assert.deepStrictEqual(yield* pruned.rows(`where ${where}`), yield* whole.rows(`where ${where}`), where)
})

/** What the metadata says of the current snapshot is true of its files; v3's row ids are of one row each. */
export const checkTotals = Effect.fnUntraced(function* (version: ModelVersion) {
  const tables = yield* IcebergTable
  const duck = yield* TestDuckDb
  const metadata = yield* tables.load(version.metadataLocation)
  assert.strictEqual(metadata.formatVersion, version.formatVersion)
  const ids = metadata.schemas.find(({ schemaId }) => schemaId === metadata.currentSchemaId)!.fields.map(({ id }) => id)
  assert.deepStrictEqual(
    ids,
    version.columns.map(({ fieldId }) => fieldId),
  )
  const current = metadata.snapshots.find(({ snapshotId }) => snapshotId === metadata.currentSnapshotId)
  if (current === undefined) return
  const { data, deletes } = yield* tables.files(metadata)
  assert.deepStrictEqual(totalsOfSummary(current.summary), totalsOf([...data, ...deletes]))
  if (version.formatVersion === 2) return
  const { pathOf, plan } = yield* readShown(version.metadataLocation, version)
  const [found] = yield* duck.rows(
    `select count(_row_id) = count(distinct _row_id) as is_unique from (${plan.positions(pathOf, { lineage: true })})`,
  )
  assert.isTrue(found!.is_unique, "row ids are of one row each")
})

/** v3: each row with its id and the number of its last change; null while rows have none. */
export const lineageOf = Effect.fnUntraced(function* (version: ModelVersion) {
  const duck = yield* TestDuckDb
  if (version.formatVersion === 2) return null
  const { pathOf, plan } = yield* readShown(version.metadataLocation, version)
  const rows = yield* duck.rows(
    `select ${shownSql(version.columns)}, _row_id::varchar as _row_id, _last_updated_sequence_number::varchar as _changed from (${plan.positions(pathOf, { lineage: true })})`,
  )
  return rows.some((row) => row._row_id === null) ? null : rows.map((row) => JSON.stringify(row)).sort()
})
