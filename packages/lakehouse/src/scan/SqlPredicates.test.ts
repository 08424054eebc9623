import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { pathOfLocation, TestDuckDb, TestTables, writeTable } from "../write/TestTable.ts"
import type { ScanPredicate } from "./Predicate.ts"
import { ScanPlanner } from "./ScanPlanner.ts"
import { sqlPredicates } from "./SqlPredicates.ts"

const columns = new Map([
  ["a", "INTEGER"],
  ["b", "VARCHAR"],
  ["t", "TIMESTAMP"],
  ["x", "DOUBLE"],
])

/** Reproducible choices (mulberry32). */
const randomOf = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const treeOf = Effect.fnUntraced(function* (sql: string) {
  const duck = yield* TestDuckDb
  const [row] = yield* duck.rows(`select json_serialize_sql($sql$${sql}$sql$) as tree`)
  return String(row!.tree)
})

const tableOf = ({ schema, table }: { readonly schema: string; readonly table: string }) =>
  schema.toLowerCase() === "silver" ? { id: table.toLowerCase(), columns } : undefined

layer(TestTables, { excludeTestServices: true })("SqlPredicates", (it) => {
  it.effect("what a text asks of a table is found, and nothing where it is not certain", () =>
    Effect.gen(function* () {
      const a5: ScanPredicate = { column: "a", op: "=", value: 5n }
      for (const [sql, expected] of [
        ["from silver.o where a = 5", [a5]],
        ["from silver.o q where q.a = 5 and random() < 0.5", [a5]],
        ["select * from silver.o where 5 > a", [{ column: "a", op: "<", value: 5n }]],
        ["from silver.o where a = 5 or x is null", [{ op: "or", of: [a5, { column: "x", op: "is null" }] }]],
        ["from silver.o where a = 5 or random() < 0.5", undefined],
        ["from silver.o where not (a = 5 and random() < 0.5)", undefined],
        [
          "from silver.o where not (a = 5 or a > 6)",
          [{ op: "not", of: { op: "or", of: [a5, { column: "a", op: ">", value: 6n }] } }],
        ],
        ["from silver.o where b like 'ab%c'", [{ column: "b", op: "starts with", value: "ab" }]],
        ["from silver.o where not b like 'ab%c'", undefined],
        ["from silver.o where t >= date '2020-01-01'", [{ column: "t", op: ">=", value: "2020-01-01" }]],
        ["from silver.o where t >= timestamptz '2020-01-01 00:00:00+00'", undefined],
        ["from silver.o where t >= date '2020-01-01 12:00:00'", undefined],
        ["from silver.o where a in (1, 2)", [{ column: "a", op: "in", values: [1n, 2n] }]],
        ["from silver.o where a in (1, null)", undefined],
        ["from silver.o where x = 1.5", [{ column: "x", op: "=", value: 1.5 }]],
        ["from silver.o where a = 1.5e0", undefined],
        ["from silver.o where a + 1 = 5", undefined],
        ["from silver.o where a = 5 using sample 10 rows", undefined],
        ["from silver.o tablesample 10 rows where a = 5", undefined],
        ["from silver.o q(c, d) where q.a = 5", undefined],
        ["from silver.o, silver.p where a = 5", undefined],
        ["from silver.o, silver.p where o.a = 5", [a5]],
        ["from silver.o as q, silver.p as q where q.a = 5", undefined],
        ["from silver.o join silver.p on o.a = 5 and p.a = o.a", [a5]],
        ["from silver.o left join silver.p on o.a = 5", undefined],
        ["from silver.p left join silver.o using (a) where o.a = 5", [a5]],
        ["from silver.p left join silver.o using (a) where o.b is null", undefined],
        ["from silver.p asof join silver.o on p.a >= o.a where o.a = 5", undefined],
        ["from silver.p positional join silver.o where o.a = 5", undefined],
        ["from silver.p natural join silver.o where o.a = 5", undefined],
        ["from silver.o where a = 5 union all from silver.o", undefined],
        [
          "from silver.o where a = 5 union all from silver.O where a > 7",
          [
            {
              op: "or",
              of: [
                { op: "and", of: [a5] },
                { op: "and", of: [{ column: "a", op: ">", value: 7n }] },
              ],
            },
          ],
        ],
        ["with q as (from silver.o where a = 5) from q, q as r", [a5]],
        ["from (from silver.o) where a = 5", undefined],
        ["from silver.p where exists (from silver.o where o.a = p.a and o.a = 5)", [a5]],
        ["from silver.o where a = 5 and b in (select b from query_table('silver.o'))", undefined],
        ["summarize from silver.o where a = 5", [a5]],
        ["explain from silver.o where a = 5", undefined],
      ] as ReadonlyArray<readonly [string, ReadonlyArray<ScanPredicate> | undefined]>) {
        assert.deepStrictEqual(sqlPredicates(yield* treeOf(sql), tableOf).get("o"), expected, sql)
      }
    }),
  )

  it.effect(
    "leaving out files never changes a result",
    () =>
      Effect.gen(function* () {
        const duck = yield* TestDuckDb
        const planner = yield* ScanPlanner
        let table = null
        const part = (
          index: number,
        ) => `select (i + ${index * 10})::int as a, case when i % 4 = 0 then null else 'k' || (i + ${index}) end as b,
        timestamp '2020-01-01' + to_hours(${index * 12} + i::int) as t, case when i % 5 = 1 then null else (i + ${index}) / 2 end as x from range(10) r(i)`
        for (let index = 0; index < 5; index++) {
          table = yield* writeTable({
            name: "sargable",
            query: part(index),
            runId: `run-${index}`,
            operation: index === 0 ? "overwrite" : "append",
            base: table,
          })
        }
        const location = table!.metadataLocation
        const whole = (yield* planner.plan(location)).relation(pathOfLocation)
        yield* duck.rows(`create schema silver; create view silver.p as ${whole}`)
        const seeds = [Math.floor(Math.random() * 2 ** 31), ...Array.from({ length: 150 }, (_, index) => index)]
        let pruned = 0
        for (const seed of seeds) {
          const random = randomOf(seed)
          const pick = <A>(items: ReadonlyArray<A>): A => items[random(items.length)]!
          const literal = (column: string): string =>
            column === "a"
              ? pick([
                  `${random(60) - 5}`,
                  `${random(60)}.5`,
                  `'${random(50)}'`,
                  "null",
                  `${random(50)}::bigint`,
                  `${random(50)}e0`,
                ])
              : column === "b"
                ? pick([`'k${random(16)}'`, "'k'", "''", "null"])
                : column === "t"
                  ? pick([
                      `timestamp '2020-01-0${1 + random(5)} ${10 + random(10)}:00:00'`,
                      `date '2020-01-0${1 + random(5)}'`,
                      `'2020-01-0${1 + random(5)}'`,
                    ])
                  : pick([`${random(9)}`, `${random(9)}.5`, "'nan'::double", `${random(9)}.25e0`])
          const comparison = (prefix: string): string => {
            const column = pick(["a", "b", "t", "x"])
            const name = `${prefix}${column}`
            return pick([
              `${name} ${pick(["=", "<", "<=", ">", ">=", "<>"])} ${literal(column)}`,
              `${literal(column)} ${pick(["=", "<", ">="])} ${name}`,
              `${name} between ${literal(column)} and ${literal(column)}`,
              `${name} in (${literal(column)}, ${literal(column)})`,
              `${name} is ${pick(["", "not "])}null`,
              `${prefix}b like '${pick(["k1%", "k%", "%", "k_", "k12", "K1%"])}'`,
              `starts_with(${prefix}b, 'k1')`,
              `${name} is not distinct from ${literal(column)}`,
            ])
          }
          const condition = (prefix: string, depth: number): string =>
            depth === 0 || random(3) === 0
              ? comparison(prefix)
              : pick([
                  `(${condition(prefix, depth - 1)} and ${condition(prefix, depth - 1)})`,
                  `(${condition(prefix, depth - 1)} or ${condition(prefix, depth - 1)})`,
                  `not (${condition(prefix, depth - 1)})`,
                ])
          const sql = pick([
            `select * from silver.o where ${condition("", 3)}`,
            `select o.a, p.a, o.x from silver.o ${pick(["join", "left join", "right join", "full join", "semi join", "anti join"])} silver.p on o.a = p.a + 3 and ${condition("o.", 1)} where ${condition("o.", 2)}`,
            `select p.a, o.a, o.b from silver.p ${pick(["join", "left join", "right join", "full join"])} silver.o on o.a = p.a + 3 where ${condition("o.", 2)}`,
            `select p.a from silver.p where ${pick(["", "not "])}exists (from silver.o where o.a = p.a and ${condition("o.", 2)})`,
            `with q as (select * from silver.o where ${condition("", 2)}) select q.a, r.a from q left join silver.o r on q.a = r.a where ${condition("r.", 2)}`,
            `select count(*), max(a) from silver.o where ${condition("", 2)} union all select min(a), sum(a) from silver.o q where ${condition("q.", 2)}`,
            `select a, b from silver.p where a in (select a from silver.o where ${condition("", 2)})`,
          ])
            .replace("o.a, p.a, o.x from silver.o semi", "o.a, o.x from silver.o semi")
            .replace("o.a, p.a, o.x from silver.o anti", "o.a, o.x from silver.o anti")
          const predicates = sqlPredicates(yield* treeOf(sql), tableOf).get("o") ?? []
          const plan = yield* planner.plan(location, { predicates })
          pruned += plan.prunedFiles
          const answer = (relation: string) =>
            Effect.andThen(
              duck.rows(`create or replace view silver.o as ${relation}`),
              duck.rows(`from (${sql}) order by all`),
            ).pipe(Effect.catch((error) => Effect.succeed(error.message)))
          const expected = yield* answer(whole)
          // A conversion that fails in a row may not be met any more.
          if (typeof expected === "string") continue
          assert.deepStrictEqual(yield* answer(plan.relation(pathOfLocation)), expected, `seed ${seed}: ${sql}`)
        }
        assert.isAbove(pruned, 50)
      }),
    { timeout: 60_000 },
  )
})
