import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { TableVersion } from "../iceberg/TableChange.ts"
import { randomOf } from "../maintenance/TestTable.ts"
import { Engine } from "./Engine.ts"
import { timestampSql } from "./StagedResult.ts"
import type { StrategySettings } from "./strategy/Strategy.ts"
import { mergeTable, rowsOf, TestMerges } from "./TestMerge.ts"

/*
 * Every strategy against a model that is written in plain SQL over an ordinary table: random results over several rounds, with NULL
 * and duplicate keys, columns that are reordered, missing, new and wider, partitioned and not, sorted and not, v2 and v3, and so
 * many small commits that files are folded.
 */

const rounds = 14
/** So many that most files lose only some of their rows at a time, so few that keys meet. */
const keys = ["null", ...Array.from({ length: 40 }, (_, key) => String(key))]
const seed = Number(process.env.MERGE_SEED ?? Date.now() % 1_000_000)

interface Variant {
  readonly name: string
  readonly strategy: string
  readonly settings: Partial<StrategySettings>
  /** Statements that do to table `m` what the strategy does, given the result in `r` (columns of `m`, and `o`, its order). */
  readonly model: (names: ReadonlyArray<string>, now: string, m: string, r: string) => ReadonlyArray<string>
}

const same = (names: ReadonlyArray<string>, left: string, right: string) =>
  names.map((name) => `${left}.${name} is not distinct from ${right}.${name}`).join(" and ")

const last = (keys: ReadonlyArray<string>, r: string, order = "desc") =>
  `(select * exclude (n) from (select *, row_number() over (partition by ${keys.join(", ")} order by o ${order}) as n from ${r}) where n = 1)`

const insert = (names: ReadonlyArray<string>, m: string, from: string, where = "") =>
  `insert into ${m} by name select ${names.join(", ")} from ${from} as d ${where}`

const keyed = (
  strategy: string,
  keys: ReadonlyArray<string>,
  model: (names: ReadonlyArray<string>, now: string, m: string, r: string) => ReadonlyArray<string>,
  settings: Partial<StrategySettings> = {},
): Variant => ({
  name: `${strategy} on ${keys.join(" and ")}${Object.keys(settings).length === 0 ? "" : ` with ${Object.keys(settings).join()}`}`,
  strategy,
  settings: { uniqueKey: keys, ...settings },
  model,
})

const history = (keys: ReadonlyArray<string>, closesMissing: boolean) =>
  keyed(
    "scd2",
    keys,
    (names, now, m, r) => [
      `update ${m} set valid_to = ${now} where valid_to is null and exists (select 1 from ${last(keys, r)} as d where ${same(keys, m, "d")} and not (${same(names, m, "d")}))`,
      ...(closesMissing
        ? [
            `update ${m} set valid_to = ${now} where valid_to is null and not exists (select 1 from ${r} as d where ${same(keys, m, "d")})`,
          ]
        : []),
      `insert into ${m} by name select ${names.join(", ")}, ${now} as valid_from, null as valid_to from ${last(keys, r)} as d where not exists (select 1 from ${m} where valid_to is null and ${same(keys, m, "d")})`,
    ],
    closesMissing ? { scdCloseMissing: true } : {},
  )

const variants: ReadonlyArray<Variant> = [
  {
    name: "full_refresh",
    strategy: "full_refresh",
    settings: {},
    model: (names, _, m, r) => [`delete from ${m}`, insert(names, m, r)],
  },
  { name: "append_only", strategy: "append_only", settings: {}, model: (names, _, m, r) => [insert(names, m, r)] },
  keyed(
    "append_only",
    ["k1"],
    (names, _, m, r) => [
      insert(names, m, last(["k1"], r, "asc"), `where not exists (select 1 from ${m} where ${same(["k1"], m, "d")})`),
    ],
    { dedup: true },
  ),
  ...[["k1"], ["k1", "k2"]].map((keys) =>
    keyed("incremental", keys, (names, _, m, r) => [
      `delete from ${m} where exists (select 1 from ${r} as d where ${same(keys, m, "d")})`,
      insert(names, m, last(keys, r)),
    ]),
  ),
  keyed("delete_insert", ["k2"], (names, _, m, r) => [
    `delete from ${m} where exists (select 1 from ${r} as d where ${same(["k2"], m, "d")})`,
    insert(names, m, r),
  ]),
  {
    name: "snapshot",
    strategy: "snapshot",
    settings: { partitionColumn: "p" },
    model: (names, _, m, r) => [
      `delete from ${m} where exists (select 1 from ${r} as d where ${same(["p"], m, "d")})`,
      insert(names, m, r),
    ],
  },
  history(["k1"], false),
  history(["k1", "k2"], true),
  keyed("soft_delete", ["k1"], (names, now, m, r) => [
    `update ${m} set _deleted_at = ${now} where _deleted_at is null and not exists (select 1 from ${r} as d where ${same(["k1"], m, "d")})`,
    `delete from ${m} where exists (select 1 from ${r} as d where ${same(["k1"], m, "d")})`,
    insert(names, m, last(["k1"], r)),
  ]),
]

const addedBy: Readonly<Record<string, string>> = {
  scd2: ", null::timestamptz as valid_from, null::timestamptz as valid_to",
  soft_delete: ", null::timestamptz as _deleted_at",
}

const partitionings = [
  undefined,
  [{ column: "p", transform: "identity" }],
  [{ column: "k1", transform: "bucket[3]" }],
  [
    { column: "k2", transform: "truncate[1]" },
    { column: "p", transform: "identity" },
  ],
] as const

let tables = 0

layer(TestMerges, { excludeTestServices: true })("MergeModel", (it) => {
  for (const [index, variant] of variants.entries()) {
    for (const formatVersion of [2, 3] as const) {
      const at = seed + index * 2 + formatVersion
      it.effect(
        `${variant.name} in a v${formatVersion} table does what plain SQL does (MERGE_SEED=${seed})`,
        () =>
          Effect.gen(function* () {
            const engine = yield* Engine
            const random = randomOf(at)
            const name = `model${++tables}`
            const m = `m${tables}`
            const r = `r${tables}`
            const partitionBy = partitionings[random(partitionings.length)]
            const sortBy =
              random(2) === 0
                ? undefined
                : [
                    { column: "v", direction: "desc", nulls: "last" } as const,
                    { column: "k1", direction: "asc", nulls: "first" } as const,
                  ]
            let base: TableVersion | null = null
            let hasExtra = false
            let isWide = false
            for (let round = 0; round < rounds; round++) {
              const cell = (values: ReadonlyArray<string>) => values[random(values.length)]!
              hasExtra ||= round > 2 && random(3) === 0
              isWide ||= round > 3 && random(4) === 0
              const lacks = variant.strategy !== "full_refresh" && base !== null && random(6) === 0
              const rows = Array.from(
                { length: base === null ? 60 : random(8) === 0 ? 0 : random(12) },
                (_, order) => ({
                  o: String(order),
                  k1: cell(keys),
                  k2: cell(["null", "'a'", "'b'", "'ä'", "''"]),
                  v: cell(["null", "1", "2", ...(isWide ? ["9000000000"] : [])]),
                  p: cell(["null", "10", "20"]),
                  extra: cell(["null", "true", "false"]),
                }),
              )
              const types: Record<string, string> = {
                k1: "integer",
                k2: "varchar",
                ...(lacks ? {} : { v: isWide ? "bigint" : "integer" }),
                p: "integer",
                ...(hasExtra ? { extra: "boolean" } : {}),
              }
              const columns = Object.keys(types).toSorted(() => random(3) - 1) as ReadonlyArray<keyof (typeof rows)[0]>
              const list =
                rows.length === 0 ? [{ o: "0", k1: "null", k2: "null", v: "null", p: "null", extra: "null" }] : rows
              const query = `select ${columns.map((column) => `${column}::${types[column]} as ${column}`).join(", ")} from (values ${list
                .map((row) => `(${[row.o, ...columns.map((column) => row[column])].join(", ")})`)
                .join(", ")}) as t(o, ${columns.join(", ")}) where ${rows.length > 0} order by o`
              const nowMillis = 1_700_000_000_000 + round * 1000
              const made: TableVersion = yield* mergeTable({
                name,
                query,
                base,
                strategy: variant.strategy,
                settings: variant.settings,
                formatVersion,
                nowMillis,
                ...(partitionBy === undefined ? {} : { partitionBy }),
                ...(sortBy === undefined ? {} : { sortBy }),
              })

              const result = `select ${columns.map((column) => `${column}::${types[column]} as ${column}`).join(", ")}, row_number() over () as o from (${query})`
              if (base === null)
                yield* engine.run(
                  `create temp table ${m} as select * exclude (o)${addedBy[variant.strategy] ?? ""} from (${result}) limit 0`,
                )
              else {
                if (hasExtra) yield* engine.run(`alter table ${m} add column if not exists extra boolean`)
                if (isWide) yield* engine.run(`alter table ${m} alter v type bigint`)
              }
              const known = (yield* engine.run(`describe ${m}`))
                .map((row) => String(row.column_name))
                .filter((column) => !["valid_from", "valid_to", "_deleted_at"].includes(column))
              const given = known.map((column) => (column in types ? column : `null as ${column}`))
              yield* engine.run(`create or replace temp table ${r} as select ${given.join(", ")}, o from (${result})`)
              // An empty result changes nothing, but where the whole is meant.
              const means =
                variant.strategy === "full_refresh" ||
                variant.strategy === "soft_delete" ||
                variant.settings.scdCloseMissing === true
              if (rows.length > 0 || means) {
                for (const statement of variant.model(known, timestampSql(nowMillis), m, r))
                  yield* engine.run(statement)
              }
              base = made

              const all = (yield* engine.run(`describe ${m}`)).map((row) => String(row.column_name)).toSorted()
              const text = `select ${all.map((column) => `${column}::varchar as ${column}`).join(", ")}`
              const expected = yield* engine.run(`${text} from ${m} order by all`)
              const actual = yield* rowsOf(made.metadataLocation, (relation) => `${text} from ${relation} order by all`)
              assert.deepStrictEqual(actual, expected, `round ${round} of ${query}`)
            }
          }),
        60_000,
      )
    }
  }
})
