import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { TableVersion } from "../iceberg/TableChange.ts"
import { randomOf } from "../maintenance/TestTable.ts"
import { Engine } from "../write/Engine.ts"
import { mergeTable, TestMerges } from "../write/TestMerge.ts"
import { diffSql } from "./DiffSql.ts"
import { ScanPlanner } from "./ScanPlanner.ts"
import { quoteName } from "./SqlText.ts"
import { versionDiff } from "./VersionDiff.ts"

const seed = Number(process.env.DIFF_SEED ?? Date.now() % 1_000_000)

interface DiffRow {
  readonly kind: string
  readonly n: bigint | null
  readonly before: Record<string, unknown> | null
  readonly after: Record<string, unknown> | null
}

const plainText = (value: unknown): string =>
  JSON.stringify(value, (_, part) => (typeof part === "bigint" ? Number(part) : part))

/** The comparison as the query role does it, in the test's engine. */
const compare = Effect.fnUntraced(function* (
  a: TableVersion,
  b: TableVersion,
  options: { readonly key?: ReadonlyArray<string>; readonly limit?: number } = {},
) {
  const engine = yield* Engine
  const planner = yield* ScanPlanner
  const diff = versionDiff(yield* planner.plan(a.metadataLocation), yield* planner.plan(b.metadataLocation))
  const pathOf = yield* engine.readable(diff.locations)
  const [before, after] = [diff.before?.(pathOf) ?? null, diff.after?.(pathOf) ?? null]
  const columns = diff.columns.map(({ name }) => name)
  const sql = diffSql({ columns, key: options.key ?? [], before, after, limit: options.limit ?? 1000 })
  for (const kind of ["view", "table"]) {
    for (const name of ["rat_rows", "rat_keys"]) yield* Effect.ignore(engine.run(`drop ${kind} if exists ${name}`))
  }
  for (const statement of sql.setup.split(";\n")) yield* engine.run(statement)
  const rows = (yield* engine.run(sql.answer)) as unknown as ReadonlyArray<DiffRow>
  const count = (kind: string) => Number(rows.find((row) => row.kind === kind && row.n !== null)?.n ?? 0)
  const read = yield* Effect.forEach([before, after], (query) =>
    query === null
      ? Effect.succeed(0)
      : Effect.map(engine.run(`select count(*) as n from (${query})`), ([row]) => Number(row!.n)),
  )
  return {
    diff,
    columns,
    rowsRead: read,
    counts: { added: count("added"), removed: count("removed"), changed: count("changed") },
    sample: rows.filter(({ n }) => n === null),
  }
})

/** All rows of a version as texts of their columns under other names. */
const allRows = Effect.fnUntraced(function* (
  version: TableVersion,
  names: ReadonlyArray<readonly [own: string, shown: string]>,
) {
  const engine = yield* Engine
  const plan = yield* (yield* ScanPlanner).plan(version.metadataLocation)
  const pathOf = yield* engine.readable(plan.locations)
  const select = names.map(([own, shown]) => `${quoteName(own)} as ${quoteName(shown)}`).join(", ")
  return (yield* engine.run(`select ${select} from (${plan.relation(pathOf)})`)).map(plainText)
})

/** What the first list has more often than the second one. */
const minus = (rows: ReadonlyArray<string>, others: ReadonlyArray<string>) => {
  const left = new Map<string, number>()
  for (const row of others) left.set(row, (left.get(row) ?? 0) + 1)
  return rows.filter((row) => {
    const n = left.get(row) ?? 0
    left.set(row, n - 1)
    return n <= 0
  })
}

const strategies = ["incremental", "incremental", "append_only", "delete_insert", "full_refresh"] as const

let tables = 0

layer(TestMerges, { excludeTestServices: true, timeout: "2 minutes" })("VersionDiff", (it) => {
  for (const formatVersion of [2, 3] as const) {
    it.effect(
      `any two versions of a v${formatVersion} table differ by what all their rows differ by (DIFF_SEED=${seed})`,
      () =>
        Effect.gen(function* () {
          const random = randomOf(seed + formatVersion)
          for (let table = 0; table < 3; table++) {
            const name = `diffed${++tables}`
            const partitionBy = [undefined, [{ column: "p", transform: "identity" }] as const][random(2)]
            /** By position: who the columns are. Names change, identities do not. */
            let names = ["k", "v", "p"]
            let isWide = false
            const versions: Array<{ readonly version: TableVersion; readonly names: ReadonlyArray<string> }> = []
            for (let round = 0; round < 9; round++) {
              const cell = (values: ReadonlyArray<string>) => values[random(values.length)]!
              const renames: Record<string, string> = {}
              if (round > 0 && random(5) === 0) {
                renames[names[1]!] = `v${round}`
                names = [names[0]!, `v${round}`, ...names.slice(2)]
              }
              if (round > 1 && random(4) === 0) names = [...names, `extra${round}`]
              isWide ||= round > 3 && random(3) === 0
              const rows = Array.from(
                { length: 1 + random(15) },
                () =>
                  `(${[cell(["null", "1", "2", "3", "4", "5", "6"]), cell(["null", "1", "2", ...(isWide ? ["9000000000"] : [])]), cell(["null", "10", "20"]), ...names.slice(3).map(() => cell(["null", "true"]))].join(", ")})`,
              )
              const types = [
                "integer",
                isWide ? "bigint" : "integer",
                "integer",
                ...names.slice(3).map(() => "boolean"),
              ]
              const query = `select ${names.map((each, index) => `${each}::${types[index]} as ${each}`).join(", ")} from (values ${rows.join(", ")}) as t(${names.join(", ")})`
              const version: TableVersion = yield* mergeTable({
                name,
                query,
                base: versions.at(-1)?.version ?? null,
                strategy: strategies[random(strategies.length)]!,
                settings: { uniqueKey: ["k"] },
                evolution: { renames, allowDestructive: true },
                formatVersion,
                ...(partitionBy === undefined ? {} : { partitionBy }),
              })
              versions.push({ version, names })
            }
            for (let pair = 0; pair < 12; pair++) {
              const [a, b] = [versions[random(versions.length)]!, versions[random(versions.length)]!]
              const shared = Array.from({ length: Math.min(a.names.length, b.names.length) }, (_, index) => index)
              const old = yield* allRows(
                a.version,
                shared.map((index) => [a.names[index]!, b.names[index]!]),
              )
              const now = yield* allRows(
                b.version,
                shared.map((index) => [b.names[index]!, b.names[index]!]),
              )
              const [gone, came] = [minus(old, now), minus(now, old)]
              const whole = yield* compare(a.version, b.version)
              assert.deepStrictEqual(whole.diff.columnsAdded, b.names.slice(shared.length))
              assert.deepStrictEqual(whole.diff.columnsRemoved, a.names.slice(shared.length))
              assert.deepStrictEqual(whole.counts, { added: came.length, removed: gone.length, changed: 0 })
              const texts = (rows: ReadonlyArray<DiffRow>, side: "before" | "after") =>
                rows.flatMap((row) => (row[side] === null ? [] : [plainText(row[side])])).sort()
              assert.deepStrictEqual(texts(whole.sample, "before"), gone.toSorted())
              assert.deepStrictEqual(texts(whole.sample, "after"), came.toSorted())

              const keys = (rows: ReadonlyArray<string>) =>
                Map.groupBy(rows, (row) => JSON.parse(row).k as number | null)
              const [goneByKey, cameByKey] = [keys(gone), keys(came)]
              const changed = Array.from(goneByKey, ([key, rows]) =>
                Math.min(rows.length, cameByKey.get(key)?.length ?? 0),
              ).reduce((sum, n) => sum + n, 0)
              const keyed = yield* compare(a.version, b.version, { key: ["k"] })
              assert.deepStrictEqual(keyed.counts, {
                added: came.length - changed,
                removed: gone.length - changed,
                changed,
              })
              assert.deepStrictEqual(texts(keyed.sample, "before"), gone.toSorted())
              assert.deepStrictEqual(texts(keyed.sample, "after"), came.toSorted())
              for (const { after, before, kind } of keyed.sample) {
                assert.strictEqual(kind, after === null ? "removed" : before === null ? "added" : "changed")
                if (kind === "changed") assert.strictEqual(before!.k, after!.k)
              }
              const short = yield* compare(a.version, b.version, { key: ["k"], limit: 2 })
              assert.deepStrictEqual(short.counts, keyed.counts)
              for (const kind of ["added", "removed", "changed"] as const) {
                const all = keyed.sample.filter((row) => row.kind === kind).map(plainText)
                assert.deepStrictEqual(short.sample.filter((row) => row.kind === kind).map(plainText), all.slice(0, 2))
              }
            }
          }
        }),
    )

    it.effect(`one changed row of a v${formatVersion} table is two rows to compare, however large its file is`, () =>
      Effect.gen(function* () {
        const name = `large${++tables}`
        const table = { name, strategy: "incremental", settings: { uniqueKey: ["k"] }, formatVersion } as const
        const first = yield* mergeTable({
          ...table,
          base: null,
          query: "select i::integer as k, 'x' || i as v from range(20000) t(i)",
        })
        const second = yield* mergeTable({ ...table, base: first, query: "select 77 as k, 'new' as v" })
        const third = yield* mergeTable({ ...table, base: second, query: "select 78 as k, 'new' as v" })
        const there = yield* compare(second, third, { key: ["k"] })
        assert.deepStrictEqual(there.counts, { added: 0, removed: 0, changed: 1 })
        assert.deepStrictEqual(
          plainText(there.sample.map(({ after, before }) => [before, after])),
          '[[{"k":78,"v":"x78"},{"k":78,"v":"new"}]]',
        )
        assert.isAtMost(there.rowsRead[0]! + there.rowsRead[1]!, 4)
        const back = yield* compare(third, first, { key: ["k"] })
        assert.deepStrictEqual(back.counts, { added: 0, removed: 0, changed: 2 })
        assert.isAtMost(back.rowsRead[0]! + back.rowsRead[1]!, 4)
        const same = yield* compare(third, third)
        assert.deepStrictEqual(
          [same.diff.readFiles, same.diff.locations, same.counts],
          [0, [], { added: 0, removed: 0, changed: 0 }],
        )
      }),
    )
  }

  it.effect("columns that two branches added by themselves are told apart by their names, in structs too", () =>
    Effect.gen(function* () {
      const table = { name: `parted${++tables}`, strategy: "full_refresh" } as const
      const base = yield* mergeTable({ ...table, base: null, query: "select 1 as k, {'x': 1} as s" })
      const one = yield* mergeTable({
        ...table,
        base,
        query: "select 1 as k, {'x': 1, 'y': 5} as s, 'a' as text, 7 as both",
      })
      const other = yield* mergeTable({
        ...table,
        base,
        query: "select 1 as k, {'x': 1, 'z': 'q'} as s, 8 as both, true as flag",
      })
      const { counts, diff, sample } = yield* compare(one, other, { key: ["k"] })
      assert.deepStrictEqual(
        diff.columns.map(({ name }) => name),
        ["k", "s", "both"],
      )
      assert.deepStrictEqual(
        [diff.columnsAdded, diff.columnsRemoved],
        [
          ["s.z", "flag"],
          ["s.y", "text"],
        ],
      )
      assert.deepStrictEqual(counts, { added: 0, removed: 0, changed: 1 })
      assert.strictEqual(
        plainText([sample[0]!.before, sample[0]!.after]),
        '[{"k":1,"s":{"x":1},"both":7},{"k":1,"s":{"x":1},"both":8}]',
      )
    }),
  )
})
