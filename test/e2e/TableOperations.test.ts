import { assert, layer } from "@effect/vitest"
import { ConflictError, NotFoundError, type RatClient, ValidationError } from "@rat/client"
import { Context, Effect, Layer } from "effect"
import { pushPipeline, rowsOf, runPipeline } from "../support/Pipelines.ts"
import { type TestNode, testNode } from "../support/TestNode.ts"

class Node extends Context.Service<Node, TestNode>()("test/e2e/TableOperationsNode") {}

const use = (act: (client: RatClient) => Promise<void>) =>
  Effect.flatMap(Node, ({ client }) => Effect.promise(() => act(client)))

const published = async (client: RatClient, name: string, sql: string) => {
  await pushPipeline(client, name, sql)
  const run = await runPipeline(client, name)
  assert.strictEqual(run.status, "success", run.error ?? "")
}

const refusal = async (act: Promise<unknown>): Promise<Error> =>
  act.then(
    () => assert.fail("was accepted"),
    (error) => error,
  )

layer(Layer.effect(Node, testNode({ store: "file" })), { excludeTestServices: true, timeout: "60 seconds" })(
  "Branches and operations on tables",
  (it) => {
    it.effect(
      "a table is compared, rolled back, dropped and brought back, on main and on a branch",
      () =>
        use(async (client) => {
          await published(client, "ops", "select 1 as id, 'a' as name union all select 2, 'b'")
          await published(client, "ops", "select 1 as id, 'A' as name union all select 3, 'c'")
          const { snapshots } = await client.tables.snapshots("default", "silver", "ops")
          assert.strictEqual(snapshots.length, 2)
          const [now, before] = snapshots.map(({ snapshot_id }) => snapshot_id)
          const states = { a: { snapshot_id: before! }, b: { snapshot_id: now! } }
          const diff = await client.tables.diff("default", "silver", "ops", { ...states, key: ["id"] })
          assert.deepInclude(diff, { rows_added: 1, rows_removed: 1, rows_changed: 1, files_same: 0 })
          assert.deepStrictEqual(diff.sample.map(({ kind }) => kind).sort(), ["added", "changed", "removed"])
          const wrong = client.tables.diff("default", "silver", "ops", { ...states, key: ["nope"] })
          assert.instanceOf(await refusal(wrong), ValidationError)

          await client.branches.create({ name: "look" })
          await client.tables.rollback("default", "silver", "ops", { snapshot_id: before! })
          const names = "select name from silver.ops order by id"
          assert.deepStrictEqual(await rowsOf(client, names), [["a"], ["b"]])

          await client.tables.drop("default", "silver", "ops", { branch: "look" })
          const onBranch = await client.tables.dropped({ branch: "look" })
          assert.deepStrictEqual(
            onBranch.tables.map(({ table }) => table),
            ["default.silver.ops"],
          )
          assert.strictEqual((await client.tables.dropped()).tables.length, 0)
          const back = await client.tables.undrop("default", "silver", "ops", { branch: "look" })
          assert.strictEqual(back.snapshot_id, now)

          await client.tables.drop("default", "silver", "ops")
          assert.instanceOf(await refusal(client.tables.get("default", "silver", "ops")), NotFoundError)
          await client.tables.undrop("default", "silver", "ops")
          assert.deepStrictEqual(await rowsOf(client, names), [["a"], ["b"]])
          assert.instanceOf(await refusal(client.tables.undrop("default", "silver", "ops")), ConflictError)
        }),
      60_000,
    )

    it.effect(
      "a branch is merged once however often that is asked, and main goes back to a commit as a new commit",
      () =>
        use(async (client) => {
          await published(client, "merged", "select 1 as id")
          const [before] = (await client.branches.history("main", { limit: 1 })).commits
          await client.branches.create({ name: "fix" })
          await client.tables.drop("default", "silver", "merged", { branch: "fix" })
          const dry = await client.branches.merge("fix", { dry_run: true })
          assert.deepInclude(dry, { merged: false, tables: ["default.silver.merged"], conflicts: [] })
          const first = await client.branches.merge("fix")
          assert.isTrue(first.merged)
          assert.deepStrictEqual(await client.branches.merge("fix"), first)
          assert.instanceOf(await refusal(client.tables.get("default", "silver", "merged")), NotFoundError)
          const restored = await client.branches.restore({ commit: before!.id, namespace: "default" })
          assert.include(restored.tables, "default.silver.merged")
          assert.strictEqual((await client.tables.get("default", "silver", "merged")).row_count, 1)
          assert.instanceOf(await refusal(client.branches.restore({ commit: "999999" })), NotFoundError)
        }),
      60_000,
    )

    it.effect(
      "names that mean something else are refused, and main is nobody's to delete or merge",
      () =>
        use(async (client) => {
          for (const name of ["run-1", "main", "a*", "*", "a..b", "a//b", "", "1a", "a b"]) {
            assert.match(
              (await refusal(client.branches.create({ name }))).constructor.name,
              /^(Validation|Conflict)Error$/,
              name,
            )
          }
          assert.instanceOf(await refusal(client.branches.delete("main")), ValidationError)
          assert.instanceOf(await refusal(client.branches.merge("main")), ValidationError)
          assert.instanceOf(await refusal(client.branches.merge("never-there")), NotFoundError)
          await client.tags.create({ name: "v1" })
          assert.instanceOf(await refusal(client.branches.delete("v1")), ValidationError)
          assert.instanceOf(await refusal(client.tags.create({ name: "v1" })), ConflictError)
          await client.tags.delete("v1")
        }),
      60_000,
    )
  },
)
