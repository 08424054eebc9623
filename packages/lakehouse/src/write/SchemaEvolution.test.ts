import { assert, layer } from "@effect/vitest"
import { Column } from "@rat/domain"
import { Effect } from "effect"
import type { TableCommit } from "../iceberg/IcebergTable.ts"
import { idsOf } from "../iceberg/SchemaRules.ts"
import type { Schema } from "../iceberg/TableMetadata.ts"
import { defaultEvolution, type Evolution, planWrite, type SchemaMismatch } from "./ResultSchema.ts"
import { readTable, TestTables, writeTable } from "./TestTable.ts"

let tables = 0

/** A table that a row of queries writes, each by its own rules. */
const table = () => {
  const name = `evolution-${tables++}`
  let base: TableCommit | null = null
  let runs = 0
  const write = (operation: "append" | "overwrite") =>
    Effect.fnUntraced(function* (query: string, evolution: Partial<Evolution> = {}, formatVersion?: 2 | 3) {
      base = yield* writeTable({
        name,
        query,
        operation,
        evolution,
        base,
        runId: `run-${runs++}`,
        ...(formatVersion === undefined ? {} : { formatVersion }),
      })
      return base
    })
  return { append: write("append"), replace: write("overwrite"), current: () => base! }
}

const schemaOf = ({ metadata }: TableCommit): Schema =>
  metadata.schemas.find(({ schemaId }) => schemaId === metadata.currentSchemaId)!
const typesOf = (commit: TableCommit) =>
  Object.fromEntries(schemaOf(commit).fields.map(({ name, type }) => [name, type] as const))
const idOf = (commit: TableCommit, name: string) => schemaOf(commit).fields.find((field) => field.name === name)?.id
const rowsOf = (commit: TableCommit, snapshotId?: bigint) =>
  readTable(commit.metadataLocation, { suffix: "order by all", ...(snapshotId === undefined ? {} : { snapshotId }) })
const refusal = <A>(effect: Effect.Effect<A, unknown, never>) =>
  Effect.map(Effect.flip(effect), (error) => (error as SchemaMismatch).problems)

layer(TestTables, { excludeTestServices: true })("SchemaEvolution", (it) => {
  it.effect("under a merging strategy a table gains columns, keeps those that are missing, and widens", () =>
    Effect.gen(function* () {
      const { append } = table()
      const first = yield* append("select 1 as id, 1.5::float as score, 1.5::decimal(4,2) as price, 'x' as gone")
      const second = yield* append(
        "select 'new' as extra, 9.25::double as score, 5000000000 as id, 123456.5::decimal(7,1) as price",
      )
      assert.deepStrictEqual(typesOf(second), {
        id: "long",
        score: "double",
        price: "decimal(8,2)",
        gone: "string",
        extra: "string",
      })
      for (const name of ["id", "score", "price", "gone"]) assert.strictEqual(idOf(second, name), idOf(first, name))
      assert.deepStrictEqual(yield* rowsOf(second), [
        { id: "1", score: 1.5, price: "1.50", gone: "x", extra: null },
        { id: "5000000000", score: 9.25, price: "123456.50", gone: null, extra: "new" },
      ])
      // Time travel shows the columns of its time.
      assert.deepStrictEqual(yield* rowsOf(second, first.snapshotId!), [
        { id: 1, score: 1.5, price: "1.50", gone: "x" },
      ])
    }),
  )

  it.effect("a narrower result is widened to the table's types, and the schema stays", () =>
    Effect.gen(function* () {
      const { append } = table()
      const first = yield* append("select 1::bigint as id, 1::double as score, 1::decimal(21,2) as price")
      const second = yield* append("select 2::tinyint as id, 2::integer as score, 2::bigint as price")
      assert.strictEqual(second.metadata.currentSchemaId, first.metadata.currentSchemaId)
      assert.strictEqual(second.metadata.schemas.length, 1)
    }),
  )

  it.effect("renames keep the values of old rows, and hints that stay do no harm", () =>
    Effect.gen(function* () {
      const { append } = table()
      const first = yield* append("select 1 as a, 'x' as b")
      const hints = { renames: { a: "c" } }
      const second = yield* append("select 2 as c, 'y' as b", hints)
      const third = yield* append("select 3 as c, 'z' as b", hints)
      assert.strictEqual(idOf(third, "c"), idOf(first, "a"))
      assert.strictEqual(third.metadata.currentSchemaId, second.metadata.currentSchemaId)
      assert.deepStrictEqual(yield* rowsOf(third), [
        { c: 1, b: "x" },
        { c: 2, b: "y" },
        { c: 3, b: "z" },
      ])
    }),
  )

  it.effect("two columns swap their names once, however often the pipeline runs, and again when it is said anew", () =>
    Effect.gen(function* () {
      const { append } = table()
      const swap = { renames: { a: "b", b: "a" } }
      yield* append("select 1 as a, 'x' as b")
      yield* append("select 2 as b, 'y' as a", swap)
      const swapped = [
        { b: 1, a: "x" },
        { b: 2, a: "y" },
      ]
      assert.deepStrictEqual(yield* rowsOf(yield* append("select 3 as b, 'z' as a", swap)), [
        ...swapped,
        { b: 3, a: "z" },
      ])
      yield* append("select 4 as b, 'z' as a")
      const back = yield* append("select 5 as a, 'z' as b", swap)
      assert.deepStrictEqual((yield* rowsOf(back)).at(-1), { a: 5, b: "z" })
    }),
  )

  it.effect("columns inside structs, lists and maps are added, renamed, widened and moved by their ids", () =>
    Effect.gen(function* () {
      const { append } = table()
      const first = yield* append("select {'a': 1, 'b': {'x': 'old'}} as s, [{'p': 1}] as l, map {'k': {'v': 1}} as m")
      const second = yield* append(
        "select {'b': {'y': 'new', 'more': true}, 'a': 5000000000} as s, [{'q': 'n', 'p': 2}] as l, map {'k': {'v': 2::bigint, 'w': 1.5::double}} as m",
        { renames: { "s.b.x": "s.b.y" } },
      )
      assert.deepStrictEqual(yield* rowsOf(second), [
        {
          s: { a: "1", b: { y: "old", more: null } },
          l: [{ p: 1, q: null }],
          m: [{ key: "k", value: { v: "1", w: null } }],
        },
        {
          s: { a: "5000000000", b: { y: "new", more: true } },
          l: [{ p: 2, q: "n" }],
          m: [{ key: "k", value: { v: "2", w: 1.5 } }],
        },
      ])
      const [before, after] = [first, second].map((commit) => idsOf(schemaOf(commit)))
      assert.includeMembers([...after!], [...before!])
      assert.strictEqual(new Set(after).size, after!.length)
      assert.strictEqual(second.metadata.lastColumnId, Math.max(...after!))
    }),
  )

  it.effect("a replacing run takes the result's order; columns go and types change only when that is allowed", () =>
    Effect.gen(function* () {
      const { replace, current } = table()
      const first = yield* replace("select 1 as id, 'x' as name, 2 as amount, {'a': 1, 'b': 2} as s")
      const query = "select 'many' as amount, {'a': 1} as s, 7 as id"
      const problems = yield* refusal(replace(query) as never)
      assert.strictEqual(problems.length, 3)
      assert.include(problems.join("\n"), 'column "name" is missing from the result')
      assert.include(problems.join("\n"), "allow_destructive_changes: true")
      assert.include(problems.join("\n"), 'column "amount" is INTEGER in the table and VARCHAR in the result')
      assert.include(problems.join("\n"), 'column "s.b" is missing')
      assert.strictEqual(current().metadataLocation, first.metadataLocation)
      const second = yield* replace(query, { allowDestructive: true })
      assert.deepStrictEqual(
        schemaOf(second).fields.map(({ name }) => name),
        ["amount", "s", "id"],
      )
      assert.strictEqual(idOf(second, "id"), idOf(first, "id"))
      assert.isAbove(idOf(second, "amount")!, first.metadata.lastColumnId)
      // A column of the same name later is another one: the first one's id is never used again.
      const third = yield* replace("select 'many' as amount, {'a': 1, 'b': 3} as s, 7 as id, 'y' as name")
      assert.isAbove(idOf(third, "name")!, second.metadata.lastColumnId)
      assert.deepStrictEqual(yield* rowsOf(third, first.snapshotId!), [
        { id: 1, name: "x", amount: 2, s: { a: 1, b: 2 } },
      ])
    }),
  )

  it.effect("a column that only got another name is recognised in the refusal", () =>
    Effect.gen(function* () {
      const { replace } = table()
      yield* replace("select 1 as id, 'x' as name")
      const problems = yield* refusal(replace("select 1 as id, 'x' as label") as never)
      assert.include(problems[0], "renamed_columns: {name: label}")
    }),
  )

  it.effect("under a merging strategy an incompatible type starts anew when allowed: old rows have NULL", () =>
    Effect.gen(function* () {
      const { append } = table()
      yield* append("select 1 as id, 2 as v")
      const problems = yield* refusal(append("select 2 as id, 'text' as v") as never)
      assert.include(problems[0], "loses its values in old rows")
      const second = yield* append("select 2 as id, 'text' as v", { allowDestructive: true })
      assert.deepStrictEqual(yield* rowsOf(second), [
        { id: 1, v: null },
        { id: 2, v: "text" },
      ])
    }),
  )

  it.effect("on_schema_change: fail refuses every change that nobody announced, all of them at once", () =>
    Effect.gen(function* () {
      for (const operation of ["append", "replace"] as const) {
        const t = table()
        yield* t[operation]("select 1 as id, 2 as v, 'x' as old")
        const problems = yield* refusal(
          t[operation]("select 5000000000 as id, 'new' as extra, 'y' as old", { onChange: "fail" }) as never,
        )
        assert.strictEqual(problems.length, 3)
        const same = yield* t[operation]("select 'z' as renamed, 3::tinyint as v, 2 as id", {
          onChange: "fail",
          renames: { old: "renamed" },
        })
        assert.strictEqual((yield* rowsOf(same)).at(-1)!.renamed, "z")
      }
    }),
  )

  it.effect("on_schema_change: ignore leaves new columns out and missing ones NULL, in replacing runs too", () =>
    Effect.gen(function* () {
      for (const operation of ["append", "replace"] as const) {
        const t = table()
        const first = yield* t[operation]("select 1 as id, 'x' as name")
        const second = yield* t[operation]("select 2 as id, true as extra", { onChange: "ignore" })
        assert.strictEqual(second.metadata.currentSchemaId, first.metadata.currentSchemaId)
        assert.deepStrictEqual((yield* rowsOf(second)).at(-1), { id: 2, name: null })
        const problems = yield* refusal(t[operation]("select 'a' as id, 'x' as name", { onChange: "ignore" }) as never)
        assert.include(problems[0], "cast it")
      }
    }),
  )

  it.effect("defaults fill new rows that lack the column; old rows have them in v3 tables only", () =>
    Effect.gen(function* () {
      for (const version of [2, 3] as const) {
        const { append, replace } = table()
        const evolution = {
          defaults: { country: "DE", day: "2024-02-29", n: 7, price: "1.50", big: "9007199254740993" },
        }
        yield* append("select 1 as id", {}, version)
        const typed = "'CH' as country, date '2024-01-01' as day, 5 as n, 2.25::decimal(9,2) as price, 1::bigint as big"
        yield* append(`select 2 as id, ${typed}`, evolution)
        const third = yield* append("select 3 as id", evolution)
        const given = { country: "CH", day: "2024-01-01", n: 5, price: "2.25", big: "1" }
        const filled = { country: "DE", day: "2024-02-29", n: 7, price: "1.50", big: "9007199254740993" }
        const nothing = { country: null, day: null, n: null, price: null, big: null }
        assert.deepStrictEqual(yield* rowsOf(third), [
          { id: 1, ...(version === 3 ? filled : nothing) },
          { id: 2, ...given },
          { id: 3, ...filled },
        ])
        // A default says what a missing column is, so a replacing run needs no permission.
        const fourth = yield* replace("select 4 as id", evolution)
        assert.deepStrictEqual(yield* rowsOf(fourth), [{ id: 4, ...filled }])
      }
    }),
  )

  it.effect("defaults that fit no column or no type are refused", () =>
    Effect.gen(function* () {
      const plan = (defaults: Record<string, unknown>) =>
        refusal(
          planWrite({
            table: "t",
            base: null,
            replaces: true,
            columns: [
              ["n", "INTEGER"],
              ["d", "DATE"],
              ["l", "INTEGER[]"],
              ["t", "VARCHAR"],
            ].map(([name, type]) => new Column({ name: name!, type: type! })),
            added: [],
            evolution: { ...defaultEvolution, defaults },
          }),
        )
      assert.include((yield* plan({ m: 1 }))[0], "neither the result nor the table has")
      assert.include((yield* plan({ n: "many" }))[0], '"many" is no INTEGER')
      assert.include((yield* plan({ n: 2 ** 31 }))[0], "is no INTEGER")
      assert.include((yield* plan({ d: "2024-13" }))[0], "is no DATE")
      assert.include((yield* plan({ l: [1] }))[0], "only plain values")
      assert.include((yield* plan({ t: 5 }))[0], "is no VARCHAR")
    }),
  )

  it.effect("comments of columns are kept, and changing one changes nothing else", () =>
    Effect.gen(function* () {
      const { append } = table()
      yield* append("select 1 as id, 'x' as name", { docs: { ID: "the key" } })
      const second = yield* append("select 2 as id, 'x' as name", { docs: { name: "a name" } })
      assert.deepStrictEqual(
        schemaOf(second).fields.map(({ doc }) => doc),
        ["the key", "a name"],
      )
      assert.strictEqual(second.metadata.lastColumnId, 2)
    }),
  )

  it.effect("a column that must not be NULL refuses rows with NULL by name, and makes a key of the table", () =>
    Effect.gen(function* () {
      const { append, current } = table()
      yield* append("select 1 as id, 'x' as name")
      const { metadata } = current()
      const schema = schemaOf(current())
      const required = {
        ...metadata,
        schemas: [{ ...schema, fields: schema.fields.map((field) => ({ ...field, required: field.name === "id" })) }],
      }
      const plan = (columns: ReadonlyArray<string>) =>
        planWrite({
          table: "t",
          base: required,
          replaces: false,
          columns: columns.map((name) => new Column({ name, type: name === "id" ? "INTEGER" : "VARCHAR" })),
          added: [],
          evolution: { ...defaultEvolution, identifier: ["ID"] },
        })
      const planned = yield* plan(["name", "id"])
      assert.deepStrictEqual(planned.schema.identifierFieldIds, [1])
      assert.include(planned.select("select 1"), 'case when "id" is null then error(')
      assert.include((yield* refusal(plan(["name"])))[0], 'column "id" is missing and may not be NULL')
    }),
  )

  it.effect("columns that the strategy adds come last, are not part of the result and must not be in it", () =>
    Effect.gen(function* () {
      const { append, current } = table()
      yield* append("select 1 as id")
      const plan = (name: string, onChange: "evolve" | "fail") =>
        planWrite({
          table: "t",
          base: current().metadata,
          replaces: false,
          columns: [new Column({ name: "id", type: "INTEGER" }), new Column({ name, type: "VARCHAR" })],
          added: [{ name: "valid_from", type: "TIMESTAMP WITH TIME ZONE" }],
          evolution: { ...defaultEvolution, onChange },
        })
      const planned = yield* plan("more", "evolve")
      assert.deepStrictEqual(
        planned.schema.fields.map(({ name }) => name),
        ["id", "more", "valid_from"],
      )
      assert.deepStrictEqual(planned.columns, ["id", "more"])
      assert.include((yield* refusal(plan("Valid_From", "evolve")))[0], "the merge strategy makes itself")
      assert.deepStrictEqual(
        (yield* refusal(plan("more", "fail"))).map((text) => /"(\w+)"/.exec(text)![1]),
        ["more"],
      )
    }),
  )

  it.effect("a column that partitions or sorts the table cannot go, and columns that cannot be written are named", () =>
    Effect.gen(function* () {
      const { append, current } = table()
      yield* append("select 1 as id, 'x' as country, 2 as rank, 'abc' as code")
      const { metadata } = current()
      const [id, country, rank, code] = ["id", "country", "rank", "code"].map((name) => idOf(current(), name)!)
      const schema = schemaOf(current())
      const base = {
        ...metadata,
        partitionSpecs: [
          { specId: 0, fields: [{ sourceId: country!, fieldId: 1000, name: "country", transform: "identity" }] },
        ],
        sortOrders: [
          {
            orderId: 0,
            fields: [{ transform: "identity", sourceId: rank!, direction: "asc", nullOrder: "nulls-last" }],
          },
        ],
        schemas: [
          {
            ...schema,
            fields: schema.fields.map((field) => (field.id === code ? { ...field, type: "fixed[3]" } : field)),
          },
        ],
      }
      assert.strictEqual(id, 1)
      const problems = yield* refusal(
        planWrite({
          table: "t",
          base,
          replaces: true,
          columns: [
            new Column({ name: "id", type: "INTEGER" }),
            new Column({ name: "rank", type: "VARCHAR" }),
            new Column({ name: "code", type: "BLOB" }),
          ],
          added: [],
          evolution: { ...defaultEvolution, allowDestructive: true },
        }),
      )
      assert.include(problems.join("\n"), 'column "country" cannot go while partition_by reads it')
      assert.include(
        problems.join("\n"),
        'column "rank" is INTEGER in the table and VARCHAR in the result: cast it, as sort_by reads it',
      )
      const writing = yield* refusal(
        planWrite({
          table: "t",
          base,
          replaces: false,
          columns: [new Column({ name: "id", type: "INTEGER" })],
          added: [],
          evolution: defaultEvolution,
        }),
      )
      assert.include(writing[0], 'column "code": it has the Iceberg type fixed[3], which this engine cannot write')
    }),
  )

  it.effect("format versions rise and never fall; dates become timestamps only in version 3", () =>
    Effect.gen(function* () {
      const { append } = table()
      yield* append("select date '2024-01-01' as d")
      const query = "select timestamp '2024-01-02 03:04:05' as d"
      assert.include((yield* refusal(append(query) as never))[0], "DATE in the table and TIMESTAMP in the result")
      const third = yield* append(query, {}, 3)
      assert.strictEqual(third.metadata.formatVersion, 3)
      assert.deepStrictEqual(yield* rowsOf(third), [{ d: "2024-01-01 00:00:00" }, { d: "2024-01-02 03:04:05" }])
      assert.include((yield* refusal(append(query, {}, 2) as never))[0], "cannot be lowered")
    }),
  )
})
