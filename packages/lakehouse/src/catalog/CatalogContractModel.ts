import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { DateTime, Effect, Exit, type Layer } from "effect"
import { SqlClient } from "effect/sql"
import fc from "fast-check"
import { Catalog } from "./Catalog.ts"

/** What the catalog is, said without SQL: every ref is a full copy of what it saw. */
interface ModelRef {
  readonly kind: "branch" | "tag"
  readonly runId: string | null
  /** Main's version counters when the ref was made. */
  readonly base: ReadonlyMap<string, number>
  /** Main's tables when the ref was made. */
  readonly baseTables: ReadonlyMap<string, string>
  readonly tables: Map<string, string>
  /** Keys that the ref itself changed. */
  readonly touched: Set<string>
  isExpired: boolean
}
interface Model {
  readonly main: Map<string, string>
  readonly versions: Map<string, number>
  readonly refs: Map<string, ModelRef>
  readonly log: Array<string>
  /** Branches that were merged: the same merge again answers with the same commit. */
  readonly merged: Set<string>
}

/** Where catalogs may differ. */
interface ModelOptions {
  /** A table that main changed and changed back is no conflict. */
  readonly comparesValues: boolean
}

const copyOf = (model: Model): Model => ({
  main: new Map(model.main),
  versions: new Map(model.versions),
  refs: new Map(
    [...model.refs].map(([name, ref]) => [
      name,
      { ...ref, tables: new Map(ref.tables), touched: new Set(ref.touched) },
    ]),
  ),
  log: [...model.log],
  merged: new Set(model.merged),
})

const names = ["p", "q", "r", "s"] as const
const tableNames = ["a", "b", "c"] as const

type Step =
  | { readonly type: "branch" | "tag"; readonly name: string; readonly from: string; readonly run: boolean }
  | {
      readonly type: "commit"
      readonly ref: string
      readonly tables: ReadonlyArray<string>
      readonly isStale: boolean
      readonly isDrop: boolean
    }
  | { readonly type: "merge" | "delete" | "expire"; readonly name: string }
  | { readonly type: "collect" }
  | { readonly type: "mergeMany"; readonly names: ReadonlyArray<string> }

const refName = fc.constantFrom(...names)
const anyRef = fc.constantFrom("main", ...names)
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ type: fc.constant("branch" as const), name: refName, from: anyRef, run: fc.boolean() }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("tag" as const), name: refName, from: anyRef, run: fc.constant(false) }),
  },
  {
    weight: 8,
    arbitrary: fc.record({
      type: fc.constant("commit" as const),
      ref: anyRef,
      tables: fc.uniqueArray(fc.constantFrom(...tableNames), { minLength: 1, maxLength: 3 }),
      isStale: fc.constant(false),
      isDrop: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      type: fc.constant("commit" as const),
      ref: anyRef,
      tables: fc.uniqueArray(fc.constantFrom(...tableNames), { minLength: 1, maxLength: 3 }),
      isStale: fc.constant(true),
      isDrop: fc.constant(false),
    }),
  },
  { weight: 5, arbitrary: fc.record({ type: fc.constant("merge" as const), name: refName }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constantFrom("delete" as const, "expire" as const), name: refName }) },
  { weight: 1, arbitrary: fc.record({ type: fc.constant("collect" as const) }) },
  {
    weight: 1,
    arbitrary: fc.record({ type: fc.constant("mergeMany" as const), names: fc.uniqueArray(refName, { minLength: 1 }) }),
  },
)
/** Steps that share one transaction, which may be rolled back; `single` steps have one of their own. */
const chunk = fc.record({
  mode: fc.constantFrom("single" as const, "commit" as const, "rollback" as const),
  steps: fc.array(step, { minLength: 1, maxLength: 6 }),
})

let counter = 0

/** One round: names and tables of its own, so that rounds need no clean-up between them. */
const round = (
  chunks: ReadonlyArray<{ readonly mode: "single" | "commit" | "rollback"; readonly steps: ReadonlyArray<Step> }>,
  options: ModelOptions,
) =>
  Effect.gen(function* () {
    const catalog = yield* Catalog
    const sql = yield* SqlClient.SqlClient
    const prefix = `r${counter++}`
    const namespace = NamespaceName.make(prefix)
    const key = (name: string) => new TableKey({ namespace, layer: "gold", name: PipelineName.make(name) })
    const nameOf = (name: string) => (name === "main" ? mainRef : RefName.make(`${prefix}-${name}`))
    let version = 0
    let model: Model = { main: new Map(), versions: new Map(), refs: new Map(), log: [], merged: new Set() }

    const mergeInModel = (name: string): string => {
      const ref = model.refs.get(name)
      if (ref === undefined || ref.kind === "tag") return model.merged.has(name) ? "merged" : "RefNotFound"
      const changed = [...ref.touched].filter((table) => ref.tables.get(table) !== model.main.get(table))
      const isBehind = (table: string) =>
        options.comparesValues
          ? ref.baseTables.get(table) !== model.main.get(table)
          : (ref.base.get(table) ?? 0) !== (model.versions.get(table) ?? 0)
      if (changed.some(isBehind)) return "CatalogConflict"
      for (const table of changed) {
        const next = ref.tables.get(table)
        if (next === undefined) model.main.delete(table)
        else model.main.set(table, next)
        model.versions.set(table, (model.versions.get(table) ?? 0) + 1)
      }
      model.refs.delete(name)
      if (changed.length > 0) {
        model.log.unshift(changed.sort().join())
        model.merged.add(name)
      }
      return changed.length === 0 ? "empty" : "merged"
    }

    /** Does one step on both sides and compares the answers. */
    const perform = Effect.fnUntraced(function* (action: Step) {
      switch (action.type) {
        case "branch":
        case "tag": {
          const runId = action.run ? `${prefix}-${action.name}` : undefined
          const actual = yield* (
            action.type === "tag"
              ? catalog.createTag(nameOf(action.name), { from: nameOf(action.from) })
              : catalog.createBranch(nameOf(action.name), {
                  from: nameOf(action.from),
                  ...(runId === undefined ? {} : { runId }),
                })
          ).pipe(
            Effect.map(() => "made"),
            Effect.catchTags({ RefExists: (e) => Effect.succeed(e._tag), RefNotFound: (e) => Effect.succeed(e._tag) }),
          )
          const source = action.from === "main" ? "main" : model.refs.get(action.from)
          const existing = model.refs.get(action.name)
          let expected = "made"
          if (source === undefined) expected = "RefNotFound"
          else if (existing !== undefined) {
            const isSame =
              action.type === "branch" && existing.kind === "branch" && runId !== undefined && existing.runId === runId
            expected = isSame ? "made" : "RefExists"
          } else {
            model.refs.set(action.name, {
              kind: action.type,
              runId: runId ?? null,
              base: new Map(source === "main" ? model.versions : source.base),
              baseTables: new Map(source === "main" ? model.main : source.baseTables),
              tables: new Map(source === "main" ? model.main : source.tables),
              touched: new Set(source === "main" ? [] : source.touched),
              isExpired: false,
            })
          }
          assert.strictEqual(actual, expected)
          return
        }
        case "commit": {
          const ref = action.ref === "main" ? undefined : model.refs.get(action.ref)
          const tables = action.ref === "main" ? model.main : ref?.tables
          // Nessie refuses to drop what is not there; Postgres makes an empty commit of it.
          const asked = action.tables.filter(
            (table) => !(options.comparesValues && action.isDrop && tables !== undefined && !tables.has(table)),
          )
          if (asked.length === 0) return
          const changes = asked.map((table) => ({
            key: key(table),
            expected: action.isStale ? "never" : (tables?.get(table) ?? null),
            next: action.isDrop
              ? null
              : { metadataLocation: `m${++version}`, snapshotId: null, rowCount: 0, sizeBytes: 0 },
          }))
          const actual = yield* catalog
            .commit(nameOf(action.ref), { message: prefix, author: "model", runId: null, changes })
            .pipe(
              Effect.map(() => "done"),
              Effect.catchTags({
                CatalogConflict: (e) => Effect.succeed(e._tag),
                RefNotFound: (e) => Effect.succeed(e._tag),
              }),
            )
          if (tables === undefined || ref?.kind === "tag") return assert.strictEqual(actual, "RefNotFound")
          if (action.isStale) return assert.strictEqual(actual, "CatalogConflict")
          assert.strictEqual(actual, "done")
          for (const { key, next } of changes) {
            if (next === null) tables.delete(key.name)
            else tables.set(key.name, next.metadataLocation)
            if (ref === undefined) model.versions.set(key.name, (model.versions.get(key.name) ?? 0) + 1)
            else ref.touched.add(key.name)
          }
          if (ref === undefined) model.log.unshift([...asked].sort().join())
          return
        }
        case "merge": {
          const actual = yield* catalog
            .merge(nameOf(action.name), { message: prefix, author: "model", runId: null })
            .pipe(
              Effect.map((commit) => (commit === null ? "empty" : "merged")),
              Effect.catchTags({
                CatalogConflict: (e) => Effect.succeed(e._tag),
                RefNotFound: (e) => Effect.succeed(e._tag),
              }),
            )
          return assert.strictEqual(actual, mergeInModel(action.name))
        }
        case "mergeMany": {
          const results = yield* catalog.mergeMany(
            action.names.map((name) => ({ branch: nameOf(name), message: prefix, author: "model", runId: null })),
          )
          const actual = results.map((result) =>
            result._tag === "Failure" ? result.failure._tag : result.success === null ? "empty" : "merged",
          )
          return assert.deepStrictEqual(actual, action.names.map(mergeInModel))
        }
        case "delete":
          model.refs.delete(action.name)
          return yield* catalog.deleteRef(nameOf(action.name))
        case "expire": {
          const ref = model.refs.get(action.name)
          if (ref?.kind === "branch") ref.isExpired = true
          return yield* catalog.expireBranch(nameOf(action.name), DateTime.makeUnsafe(0))
        }
        case "collect": {
          const expired = [...model.refs].filter(([, ref]) => ref.isExpired).map(([name]) => name)
          for (const name of expired) model.refs.delete(name)
          const collected = yield* catalog.collectExpired(1000)
          return assert.deepStrictEqual(
            collected.filter((name) => name.startsWith(`${prefix}-`)).sort(),
            expired.map(nameOf).sort() as Array<string>,
          )
        }
      }
    })

    /** Compares everything there is to see. */
    const compare = Effect.gen(function* () {
      for (const name of ["main", ...names]) {
        const expected = name === "main" ? model.main : model.refs.get(name)?.tables
        const listed = yield* Effect.exit(catalog.tables(nameOf(name), { namespace: prefix }))
        if (expected === undefined) {
          assert.isTrue(Exit.isFailure(listed))
          continue
        }
        const actual = Exit.isSuccess(listed) ? listed.value : []
        assert.deepStrictEqual(
          actual.map((pointer) => [pointer.key.name as string, pointer.metadataLocation]),
          [...expected].sort(([x], [y]) => (x < y ? -1 : 1)),
        )
        for (const table of tableNames) {
          const pointer = yield* catalog.table(nameOf(name), key(table))
          assert.strictEqual(pointer?.metadataLocation, expected.get(table))
        }
      }
      const history = yield* catalog.history(mainRef, { limit: model.log.length + 1 })
      assert.deepStrictEqual(
        history
          .filter((commit) => commit.message === prefix)
          .map((commit) => commit.tables.map((table) => table.split(".")[2]).join()),
        model.log,
      )
    })

    for (const { mode, steps } of chunks) {
      const all = Effect.forEach(steps, perform, { discard: true })
      if (mode === "single" || !catalog.joinsTransactions) yield* all
      else if (mode === "commit") yield* sql.withTransaction(all)
      else {
        const before = copyOf(model)
        yield* sql.withTransaction(Effect.andThen(all, Effect.fail("rolled back" as const))).pipe(
          Effect.catchIf(
            (error) => error === "rolled back",
            () => Effect.void,
          ),
        )
        model = before
      }
      yield* compare
    }
  })

/** Random histories beside the model. Needs the SqlClient that the catalog joins. */
export const catalogContractModel = <E>(
  catalog: Layer.Layer<Catalog | SqlClient.SqlClient, E>,
  options: ModelOptions & { readonly runs: number },
) =>
  layer(catalog, { excludeTestServices: true, timeout: 60_000 })("The catalog", (it) => {
    it.effect(
      "does what its model does, for any sequence of branches, commits, merges, tags, deletions and expiries",
      () =>
        Effect.gen(function* () {
          const run = Effect.runPromiseWith(yield* Effect.context<Catalog | SqlClient.SqlClient>())
          yield* Effect.promise(() =>
            fc.assert(
              fc.asyncProperty(fc.array(chunk, { minLength: 1, maxLength: 10 }), (chunks) =>
                run(round(chunks, options)),
              ),
              { numRuns: Number(process.env.PROPERTY_RUNS ?? options.runs) },
            ),
          )
        }),
      120_000,
    )
  })
