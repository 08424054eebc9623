/*
 * What each merge strategy does, as plain SQL over whole tables: `m` is the table, `s` the result with its order in `n`. Written
 * from the words of docs/pipelines.md; shares nothing with the strategies' own SQL.
 */

export interface StrategyCase {
  readonly strategy: string
  /** Lines of `config.yaml` besides the strategy. */
  readonly settings: ReadonlyArray<string>
  /** Columns that the strategy adds. */
  readonly added: ReadonlyArray<string>
  /**
   * Statements that turn the model into what the table must be after a run; `facts` are the result's columns, `moment` the run's
   * time as a literal.
   */
  readonly apply: (tables: ModelTables, facts: ReadonlyArray<string>, moment: string) => ReadonlyArray<string>
}

export interface ModelTables {
  readonly m: string
  readonly s: string
}

const same = (columns: ReadonlyArray<string>, left: string, right: string) =>
  columns.map((column) => `${left}.${column} is not distinct from ${right}.${column}`).join(" and ")

const list = (columns: ReadonlyArray<string>) => columns.join(", ")

/** One row for each key, the last or first of the result. */
const perKey = (s: string, key: ReadonlyArray<string>, order: "asc" | "desc") =>
  `(select * from ${s} qualify row_number() over (partition by ${list(key)} order by n ${order}) = 1)`

const incremental = (key: ReadonlyArray<string>): StrategyCase => ({
  strategy: "incremental",
  settings: [`unique_key: [${list(key)}]`],
  added: [],
  apply: ({ m, s }, facts) => [
    `delete from ${m} where exists (select 1 from ${s} s where ${same(key, "s", m)})`,
    `insert into ${m} by name select ${list(facts)} from ${perKey(s, key, "desc")}`,
  ],
})

const scd2 = (closeMissing: boolean): StrategyCase => ({
  strategy: "scd2",
  settings: ["unique_key: id", ...(closeMissing ? ["scd_close_missing: true"] : [])],
  added: ["valid_from", "valid_to"],
  apply: ({ m, s }, facts, moment) => {
    const last = perKey(s, ["id"], "desc")
    const changed = `exists (select 1 from ${last} s where ${same(["id"], "s", m)} and not (${same(facts, "s", m)}))`
    const gone = `not exists (select 1 from ${s} s where ${same(["id"], "s", m)})`
    return [
      `update ${m} set valid_to = ${moment} where valid_to is null and (${changed}${closeMissing ? ` or ${gone}` : ""})`,
      `insert into ${m} by name select ${list(facts)}, ${moment} as valid_from from ${last} s
       where not exists (select 1 from ${m} m where m.valid_to is null and ${same(facts, "s", "m")})`,
    ]
  },
})

/** All strategies, with the settings that change what they do. */
export const strategyCases: ReadonlyArray<StrategyCase> = [
  {
    strategy: "full_refresh",
    settings: [],
    added: [],
    apply: ({ m, s }, facts) => [`delete from ${m}`, `insert into ${m} by name select ${list(facts)} from ${s}`],
  },
  {
    strategy: "append_only",
    settings: [],
    added: [],
    apply: ({ m, s }, facts) => [`insert into ${m} by name select ${list(facts)} from ${s}`],
  },
  {
    strategy: "append_only",
    settings: ["dedup: true", "unique_key: id"],
    added: [],
    apply: ({ m, s }, facts) => [
      `insert into ${m} by name select ${list(facts)} from ${perKey(s, ["id"], "asc")} s
       where not exists (select 1 from ${m} m where ${same(["id"], "s", "m")})`,
    ],
  },
  incremental(["id"]),
  incremental(["part", "id"]),
  {
    strategy: "delete_insert",
    settings: ["unique_key: id"],
    added: [],
    apply: ({ m, s }, facts) => [
      `delete from ${m} where exists (select 1 from ${s} s where ${same(["id"], "s", m)})`,
      `insert into ${m} by name select ${list(facts)} from ${s}`,
    ],
  },
  scd2(false),
  scd2(true),
  {
    strategy: "snapshot",
    settings: ["partition_column: part"],
    added: [],
    apply: ({ m, s }, facts) => [
      `delete from ${m} where exists (select 1 from ${s} s where ${same(["part"], "s", m)})`,
      `insert into ${m} by name select ${list(facts)} from ${s}`,
    ],
  },
  {
    strategy: "soft_delete",
    settings: ["unique_key: id"],
    added: ["_deleted_at"],
    apply: ({ m, s }, facts, moment) => {
      const key = same(["id"], "s", m)
      return [
        `update ${m} set _deleted_at = ${moment} where _deleted_at is null and not exists (select 1 from ${s} s where ${key})`,
        `delete from ${m} where exists (select 1 from ${s} s where ${key})`,
        `insert into ${m} by name select ${list(facts)} from ${perKey(s, ["id"], "desc")}`,
      ]
    },
  },
]
