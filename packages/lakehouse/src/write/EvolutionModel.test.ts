import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import type { TableCommit } from "../iceberg/IcebergTable.ts"
import { idsOf } from "../iceberg/SchemaRules.ts"
import { readTable, TestTables, writeTable } from "./TestTable.ts"

/** One run of the model: what somebody does to the query of an appending pipeline. `at` chooses a column. */
type Step =
  | { readonly kind: "add" | "rename" | "widen" | "forget"; readonly at: number; readonly nested: boolean }
  | { readonly kind: "swap"; readonly at: number; readonly nested: false }

interface ModelColumn {
  /** Who the column is, whatever it is called. */
  readonly identity: number
  readonly name: string
  readonly isWide: boolean
}

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({
    kind: fc.constantFrom("add" as const, "rename" as const, "widen" as const, "forget" as const),
    at: fc.nat({ max: 20 }),
    nested: fc.boolean(),
  }),
  fc.record({ kind: fc.constant("swap" as const), at: fc.nat({ max: 20 }), nested: fc.constant(false as const) }),
)

const seed = Date.now() % 2 ** 31
const big = 5_000_000_000n

layer(TestTables, { excludeTestServices: true })("A table whose query changes again and again", (it) => {
  it.effect(
    `keeps every value under the column that it was written to, in time travel too (seed ${seed})`,
    () =>
      Effect.gen(function* () {
        for (const [round, steps] of fc
          .sample(fc.array(step, { minLength: 4, maxLength: 10 }), { numRuns: 8, seed })
          .entries()) {
          let names = 0
          let identities = 0
          const fresh = (): ModelColumn => ({ identity: identities++, name: `c${names++}`, isWide: false })
          /** Columns of the table, and those of its struct `s`. */
          let top: Array<ModelColumn> = [fresh(), fresh()]
          let inner: Array<ModelColumn> = [fresh()]
          const rows: Array<ReadonlyMap<number, bigint>> = []
          let base: TableCommit | null = null
          const history: Array<{
            readonly snapshotId: bigint
            readonly expected: ReadonlyArray<Record<string, unknown>>
          }> = []
          let everUsed = new Set<number>()
          /** The swap that the last run announced. */
          let announced = ""

          const expectedNow = () =>
            rows.map((row, n) => {
              const show = (column: ModelColumn) => {
                const value = row.get(column.identity)
                return value === undefined ? null : column.isWide ? String(value) : Number(value)
              }
              const of = (columns: ReadonlyArray<ModelColumn>) =>
                Object.fromEntries(columns.map((column) => [column.name, show(column)]))
              return { n, ...of(top), s: of(inner) }
            })

          for (const [run, { at, kind, nested }] of [
            { kind: "none" as const, at: 0, nested: false },
            ...steps,
          ].entries()) {
            const list = nested ? [...inner] : [...top]
            const place = at % list.length
            const column = list[place]!
            const renames: Record<string, string> = {}
            const prefix = nested ? "s." : ""
            const forgotten = new Set<number>()
            if (kind === "add") list.push(fresh())
            if (kind === "rename") {
              list[place] = { ...column, name: `c${names++}` }
              renames[`${prefix}${column.name}`] = `${prefix}${list[place]!.name}`
            }
            if (kind === "widen") list[place] = { ...column, isWide: true }
            if (kind === "forget") forgotten.add(column.identity)
            const other = (place + 1) % list.length
            let swap = ""
            if (kind === "swap" && other !== place) {
              const partner = list[other]!
              swap = [column.name, partner.name].sort().join()
              // What the run before announced too is one swap that stayed in the settings: it happens once.
              if (swap !== announced) {
                list[place] = { ...partner, name: column.name }
                list[other] = { ...column, name: partner.name }
              }
              renames[column.name] = partner.name
              renames[partner.name] = column.name
            }
            if (nested) inner = list
            else top = list

            const row = new Map<number, bigint>()
            const sqlOf = (each: ModelColumn) => {
              const value = (each.isWide ? big : 0n) + BigInt(run * 100 + each.identity)
              row.set(each.identity, value)
              return `cast(${value} as ${each.isWide ? "BIGINT" : "INTEGER"})`
            }
            const present = top.filter((each) => !forgotten.has(each.identity))
            const presentInner = inner.filter((each) => !forgotten.has(each.identity))
            if (presentInner.length === 0) continue // no run: the one before it stays the last one
            announced = swap
            const fields = presentInner.map((each) => `'${each.name}': ${sqlOf(each)}`).join(", ")
            const parts = [
              ...present.map((each) => `${sqlOf(each)} as ${each.name}`),
              `{${fields}} as s`,
              `${rows.length} as n`,
            ]
            rows.push(row)
            base = yield* writeTable({
              name: `evolving-${round}`,
              // The order of columns in the query means nothing to an appending run.
              query: `select ${(run % 2 === 0 ? parts : parts.toReversed()).join(", ")}`,
              runId: `run-${run}`,
              operation: "append",
              base,
              evolution: { renames },
            })
            const shown = yield* readTable(base.metadataLocation, { suffix: "order by n" })
            const expected = expectedNow()
            assert.deepStrictEqual(shown.map(sorted), expected.map(sorted), JSON.stringify(steps))
            const schema = base.metadata.schemas.find(({ schemaId }) => schemaId === base!.metadata.currentSchemaId)!
            const ids = idsOf(schema)
            assert.strictEqual(new Set(ids).size, ids.length)
            everUsed = new Set([...everUsed, ...ids])
            assert.strictEqual(base.metadata.lastColumnId, Math.max(...everUsed))
            history.push({ snapshotId: base.snapshotId!, expected })
          }
          for (const { expected, snapshotId } of history) {
            const shown = yield* readTable(base!.metadataLocation, { suffix: "order by n", snapshotId })
            assert.deepStrictEqual(shown.map(sorted), expected.map(sorted))
          }
        }
      }),
    60_000,
  )
})

/** Whatever the order of columns. */
const sorted = (row: Record<string, unknown>): unknown =>
  Object.entries(row)
    .map(
      ([name, value]) => [name, typeof value === "object" && value !== null ? sorted(value as never) : value] as const,
    )
    .sort(([left], [right]) => (left < right ? -1 : 1))
