import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { DateTime, Effect, type Layer } from "effect"
import { Catalog, type TableChange } from "./Catalog.ts"

/** Any number that tells versions apart. */
const snapshotOf = (location: string) =>
  String(location.split("").reduce((sum, letter) => sum * 31 + letter.charCodeAt(0), 7) % 2 ** 31)

const key = (name: string, namespace = "ns") =>
  new TableKey({ namespace: NamespaceName.make(namespace), layer: "silver", name: PipelineName.make(name) })
const branch = (name: string) => RefName.make(name)
const change = (table: TableKey, expected: string | null, next: string | null): TableChange => ({
  key: table,
  expected,
  next:
    next === null
      ? null
      : { metadataLocation: next, snapshotId: snapshotOf(next), rowCount: 3, sizeBytes: 5_000_000_000 },
})
const by = { message: "m", author: "test", runId: null }

const commit = (ref: string, ...changes: ReadonlyArray<TableChange>) =>
  Effect.flatMap(Catalog, (catalog) => catalog.commit(branch(ref), { ...by, changes }))
const locationOf = (ref: string, table: TableKey) =>
  Effect.flatMap(Catalog, (catalog) => catalog.table(branch(ref), table)).pipe(
    Effect.map((pointer) => pointer?.metadataLocation ?? null),
  )

/** What every catalog does, whatever keeps its state. */
export const catalogContract = <E>(name: string, catalog: Layer.Layer<Catalog, E>) =>
  layer(catalog, { excludeTestServices: true, timeout: 60_000 })(name, (it) => {
    it.effect("a branch sees main as of its base plus its own changes, and main sees them after the merge", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const [a, b, c] = [key("a1"), key("b1"), key("c1")]
        yield* commit("main", change(a, null, "a@1"), change(b, null, "b@1"))
        const made = yield* catalog.createBranch(branch("run-1"), { from: mainRef, runId: "1" })
        yield* commit("main", change(b, "b@1", "b@2"), change(c, null, "c@1"))
        yield* commit("run-1", change(a, "a@1", "a@2"))

        assert.deepStrictEqual(
          (yield* catalog.tables(branch("run-1"), { namespace: "ns" })).map((table) => table.metadataLocation),
          ["a@2", "b@1"],
        )
        assert.strictEqual(yield* locationOf("run-1", b), "b@1")
        assert.isNull(yield* locationOf("run-1", c))
        assert.strictEqual(yield* locationOf("main", a), "a@1")

        const merged = yield* catalog.merge(branch("run-1"), { ...by, runId: "1" })
        assert.deepStrictEqual(merged?.tables, ["ns.silver.a1"])
        assert.isAbove(Number(merged?.id), Number(made.base))
        const pointer = yield* catalog.table(mainRef, a)
        assert.deepInclude(pointer, {
          metadataLocation: "a@2",
          snapshotId: snapshotOf("a@2"),
          rowCount: 3,
          sizeBytes: 5_000_000_000,
        })
        assert.strictEqual((yield* Effect.flip(catalog.ref(branch("run-1"))))._tag, "RefNotFound")
      }),
    )

    it.effect("a table that main changed since the base is a conflict, and nothing of the branch is published", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const [a, b] = [key("a2"), key("b2")]
        yield* commit("main", change(a, null, "a@1"))
        yield* catalog.createBranch(branch("run-2"), { from: mainRef })
        yield* commit("run-2", change(a, "a@1", "a@mine"), change(b, null, "b@mine"))
        yield* commit("main", change(a, "a@1", "a@theirs"))
        const refused = yield* Effect.flip(catalog.merge(branch("run-2"), by))
        assert.deepInclude(refused, { _tag: "CatalogConflict", tables: ["ns.silver.a2"] })
        assert.strictEqual(yield* locationOf("main", a), "a@theirs")
        assert.isNull(yield* locationOf("main", b))
        assert.strictEqual(yield* locationOf("run-2", a), "a@mine")
      }),
    )

    it.effect("two branches that create the same table conflict", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const a = key("a3")
        for (const name of ["run-3a", "run-3b"]) {
          yield* catalog.createBranch(branch(name), { from: mainRef })
          yield* commit(name, change(a, null, `${name}@1`))
        }
        yield* catalog.merge(branch("run-3a"), by)
        assert.strictEqual((yield* Effect.flip(catalog.merge(branch("run-3b"), by)))._tag, "CatalogConflict")
        assert.strictEqual(yield* locationOf("main", a), "run-3a@1")
      }),
    )

    it.effect("commits are compared with what they expected, all tables or none", () =>
      Effect.gen(function* () {
        const [a, b] = [key("a4"), key("b4")]
        yield* commit("main", change(a, null, "a@1"))
        const refused = yield* Effect.flip(commit("main", change(b, null, "b@1"), change(a, "a@0", "a@2")))
        assert.deepInclude(refused, { _tag: "CatalogConflict", tables: ["ns.silver.a4"] })
        assert.isNull(yield* locationOf("main", b))
        assert.strictEqual((yield* Effect.flip(commit("nowhere", change(a, "a@1", "a@2"))))._tag, "RefNotFound")
      }),
    )

    it.effect("a run's commit, branch and merge may be repeated and happen once", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const a = key("a5")
        const name = branch("run-5")
        const make = catalog.createBranch(name, { from: mainRef, runId: "5" })
        assert.deepStrictEqual(yield* make, yield* make)
        assert.strictEqual(
          (yield* Effect.flip(catalog.createBranch(name, { from: mainRef, runId: "6" })))._tag,
          "RefExists",
        )
        const once = catalog.commit(name, { ...by, runId: "5", changes: [change(a, null, "a@1")] })
        assert.deepStrictEqual(yield* once, yield* once)
        const publish = catalog.merge(name, { ...by, runId: "5" })
        assert.deepStrictEqual(yield* publish, yield* publish)
        assert.strictEqual((yield* catalog.history(mainRef, { limit: 10, table: a })).length, 1)
        // Without a run there is nothing to recognise a repetition by.
        assert.strictEqual((yield* Effect.flip(catalog.merge(name, by)))._tag, "RefNotFound")
      }),
    )

    it.effect("a branch that changed nothing merges into nothing and ends", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        yield* catalog.createBranch(branch("run-6"), { from: mainRef })
        assert.isNull(yield* catalog.merge(branch("run-6"), by))
        assert.strictEqual((yield* Effect.flip(catalog.ref(branch("run-6"))))._tag, "RefNotFound")
      }),
    )

    it.effect("a tag stays where it is, and commits to it are refused", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const a = key("a8")
        yield* commit("main", change(a, null, "a@1"))
        yield* catalog.createTag(branch("v1"), { from: mainRef })
        yield* commit("main", change(a, "a@1", "a@2"))
        yield* commit("main", change(a, "a@2", null))
        assert.strictEqual(yield* locationOf("v1", a), "a@1")
        assert.isNull(yield* locationOf("main", a))
        assert.strictEqual((yield* Effect.flip(commit("v1", change(a, "a@1", "a@3"))))._tag, "RefNotFound")
        assert.strictEqual((yield* Effect.flip(catalog.merge(branch("v1"), by)))._tag, "RefNotFound")
      }),
    )

    it.effect("expired branches are collected, a page at a time", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        for (const name of ["old-1", "old-2", "old-3", "young"]) {
          yield* catalog.createBranch(branch(name), { from: mainRef })
        }
        const now = yield* DateTime.now
        for (const [name, minutes] of [
          ["old-1", -3],
          ["old-2", -2],
          ["old-3", -1],
          ["young", 5],
        ] as const) {
          yield* catalog.expireBranch(branch(name), DateTime.add(now, { minutes }))
        }
        assert.deepStrictEqual(yield* catalog.collectExpired(2), ["old-1", "old-2"])
        assert.deepStrictEqual(yield* catalog.collectExpired(2), ["old-3"])
        assert.isNotNull((yield* catalog.ref(branch("young"))).expiresAt)
        const names = (yield* catalog.refs({ limit: 100, after: branch("old") })).map((ref) => ref.name)
        assert.isFalse(names.some((name) => name.startsWith("old-")))
        assert.isTrue(names.some((name) => name === "young"))
      }),
    )

    it.effect("history is newest first, in pages, with parents, by table", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const a = key("a9")
        const ids = []
        for (let version = 1; version <= 4; version++) {
          ids.unshift((yield* commit("main", change(a, version === 1 ? null : `a@${version - 1}`, `a@${version}`))).id)
        }
        yield* commit("main", change(key("other9"), null, "o@1"))
        const page = yield* catalog.history(mainRef, { limit: 2, table: a })
        assert.deepStrictEqual(
          page.map(({ id, parent }) => ({ id, parent })),
          [
            { id: ids[0]!, parent: ids[1]! },
            { id: ids[1]!, parent: ids[2]! },
          ],
        )
        const rest = yield* catalog.history(mainRef, { limit: 9, table: a, before: page[1]!.id })
        assert.deepStrictEqual(
          rest.map((row) => row.id),
          ids.slice(2),
        )

        yield* catalog.createBranch(branch("run-9"), { from: mainRef })
        const own = yield* commit("run-9", change(a, "a@4", "a@5"))
        yield* commit("main", change(key("later9"), null, "l@1"))
        const onBranch = yield* catalog.history(branch("run-9"), { limit: 3 })
        assert.deepStrictEqual(
          onBranch.map((row) => row.tables),
          [["ns.silver.a9"], ["ns.silver.other9"], ["ns.silver.a9"]],
        )
        assert.strictEqual(onBranch[0]?.parent, onBranch[1]?.id)
        assert.strictEqual((yield* catalog.ref(branch("run-9"))).head, own.id)
      }),
    )

    it.effect("what a branch changed is told, and a table put upon main's version can be merged", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const [a, b, c] = [key("a10", "past"), key("b10", "past"), key("c10", "past")]
        const before = yield* commit("main", change(a, null, "p@a1"), change(b, null, "p@b1"))
        const name = branch("run-10")
        yield* catalog.createBranch(name, { from: mainRef })
        yield* commit("run-10", change(a, "p@a1", "p@mine"), change(b, "p@b1", null), change(c, null, "p@c1"))
        yield* commit("main", change(a, "p@a1", "p@theirs"))
        const told = Effect.map(catalog.changes(name), (changes) =>
          changes.map((one) => `${one.key.name} ${one.kind}${one.isBehind ? " behind" : ""}`),
        )
        assert.deepStrictEqual(yield* told, ["a10 changed behind", "b10 dropped", "c10 created"])
        assert.strictEqual((yield* Effect.flip(catalog.changes(branch("nowhere"))))._tag, "RefNotFound")

        const next = change(a, null, "p@both").next!
        const upon = (expected: string) => catalog.rebase(name, { key: a, expected, onto: "p@theirs", next })
        assert.isFalse(yield* upon("p@stale"))
        assert.isTrue(yield* upon("p@mine"))
        assert.deepStrictEqual(yield* told, ["a10 changed", "b10 dropped", "c10 created"])
        yield* catalog.merge(name, by)
        assert.strictEqual(yield* locationOf("main", a), "p@both")

        const dropped = yield* catalog.dropped({ namespace: "past" })
        assert.deepStrictEqual(
          dropped.map(({ pointer }) => pointer.metadataLocation),
          ["p@b1"],
        )
        const then = yield* catalog.at(before.id, { namespace: "past" })
        assert.deepStrictEqual(
          then.map((pointer) => pointer.metadataLocation),
          ["p@a1", "p@b1"],
        )
      }),
    )
  })
