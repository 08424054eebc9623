import { assert, layer } from "@effect/vitest"
import { mainRef, RefName } from "@rat/domain"
import { Catalog, PgConfig, PostgresCatalog, TestPostgres } from "@rat/lakehouse"
import { Context, Effect, Layer, Redacted } from "effect"
import { type TestNode, testNode } from "../support/TestNode.ts"
import { pyIceberg, runScript } from "./Install.ts"

/* PyIceberg as a client of the Iceberg REST endpoint; skipped with the reason where it cannot be installed. */
const installed = await pyIceberg()

class Node extends Context.Service<Node, TestNode>()("test/interop/PyIcebergRestNode") {}

/** A database apart, so that the test can make branches beside the node. */
const running = Layer.effect(
  Node,
  Effect.gen(function* () {
    const { url } = yield* PgConfig
    return yield* testNode({
      store: "file",
      environment: {
        DATABASE_URL: Redacted.value(url),
        RAT_ICEBERG_CREDENTIAL: "client:secret",
        RAT_ICEBERG_TOKEN: "token",
      },
    })
  }),
).pipe(Layer.provideMerge(PostgresCatalog.layer), Layer.provideMerge(TestPostgres.layer([], { maxConnections: 4 })))

type Row = { readonly id: number; readonly label?: string; readonly name?: string; readonly extra?: number | null }

const python = Effect.fnUntraced(function* (scenario: string, warehouse = "main", ...args: ReadonlyArray<string>) {
  const { url } = yield* Node
  const binary = "python" in installed ? installed.python : assert.fail(installed.reason)
  const text = yield* Effect.promise(() => runScript(binary, "pyiceberg_rest.py", url, warehouse, scenario, ...args))
  // biome-ignore lint/suspicious/noExplicitAny: what a scenario saw
  return JSON.parse(text) as any
})

const queried = Effect.fnUntraced(function* (sql: string) {
  const { client } = yield* Node
  return (yield* Effect.promise(() => client.query.execute({ sql, namespace: "default" }))).rows
})

/** What `writes` leaves, from its words alone. */
const expected: ReadonlyArray<Row> = [
  ...Array.from({ length: 12 }, (_, index) => ({ id: 100 + index, label: `n${(100 + index) % 3}`, extra: null })),
  ...[200, 201, 202].map((id) => ({ id, label: `n${id % 3}`, extra: 7 })),
]

if ("reason" in installed) {
  layer(Layer.empty)(`PyIceberg over REST (skipped: ${installed.reason})`, (it) => {
    it.effect.skip("is not there", () => Effect.void)
  })
} else {
  layer(running, { excludeTestServices: true, timeout: "120 seconds" })("PyIceberg over REST", (it) => {
    it.effect(
      "writes in every way that it has, and both of us read the same rows",
      () =>
        Effect.gen(function* () {
          const found = yield* python("writes")
          assert.deepInclude(found.properties, { owner: "python", "gc.enabled": "false" })
          assert.deepStrictEqual(
            found.rows,
            expected.map((row) => ({ ...row, late: null })),
          )
          assert.deepInclude(found.after, { team: "x", "gc.enabled": "false" })
          assert.notProperty(found.after, "owner")
          assert.deepStrictEqual(found.spec, ["label"])
          assert.strictEqual(found.at_first, 10)
          const ours = yield* queried("select id, label, extra from silver.py_writes order by id")
          assert.deepStrictEqual(ours.map((row) => ({ ...row, id: Number(row.id) })) as never, expected)
        }),
      120_000,
    )

    it.effect(
      "of two appends with one view both stay; an overwrite of a stale view is refused",
      () =>
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* python("conflicts"), { overwrite_refused: true, rows: [0, 1, 2] })
          assert.deepStrictEqual((yield* queried("select count(*)::integer as n from silver.py_conflicts"))[0], {
            n: 3,
          })
        }),
      120_000,
    )

    it.effect(
      "creates, renames, purges and registers, and finds the errors that it knows",
      () =>
        Effect.gen(function* () {
          const found = yield* python("objects")
          assert.deepStrictEqual(found, {
            namespaces: [["default"], ["py"]],
            layers: [
              ["py", "bronze"],
              ["py", "silver"],
              ["py", "gold"],
            ],
            properties: { comment: "of python" },
            again: true,
            taken: true,
            not_empty: true,
            renamed: [[], [["py", "silver", "b"]]],
            kept: 3,
            gone: true,
            registered: 3,
            ctas: true,
            end: [["default"]],
          })
        }),
      120_000,
    )

    it.effect(
      "works on a branch by its name; main sees it with the merge, and a tag refuses",
      () =>
        Effect.gen(function* () {
          const catalog = yield* Catalog
          const branch = RefName.make("team/py")
          yield* catalog.createBranch(branch, { from: mainRef })
          yield* catalog.createTag(RefName.make("before"), { from: mainRef })
          assert.deepStrictEqual(yield* python("branch_write", "team/py"), { count: expected.length + 1 })
          assert.strictEqual((yield* python("read", "main", "py_writes")).rows.length, expected.length)
          assert.deepStrictEqual(yield* python("tag_write", "before"), { refused: true })
          yield* catalog.merge(branch, { message: "merge", author: "test", runId: null })
          assert.strictEqual((yield* python("read", "main", "py_writes")).rows.length, expected.length + 1)
          assert.strictEqual((yield* python("read", "before", "py_writes")).rows.length, expected.length)
        }),
      120_000,
    )

    it.effect(
      "lets the server plan, with the same rows and no more files than its own planner finds",
      () =>
        Effect.gen(function* () {
          const plans = yield* python("planned")
          for (const [name, plan] of Object.entries(plans) as ReadonlyArray<[string, Record<string, number>]>) {
            assert.isTrue(plan.same, name)
            assert.isAtMost(plan.files!, plan.client_files!, name)
          }
          assert.strictEqual(plans.none.files, 0)
        }),
      120_000,
    )

    it.effect(
      "gets a token for its credential",
      () =>
        Effect.gen(function* () {
          assert.deepInclude((yield* python("authorised")).namespaces, ["default"])
        }),
      120_000,
    )
  })
}
