import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { Effect, type Layer, Ref } from "effect"
import { Catalog, type CatalogConflict } from "./Catalog.ts"

const key = (namespace: string, name: string) =>
  new TableKey({ namespace: NamespaceName.make(namespace), layer: "silver", name: PipelineName.make(name) })
const next = (metadataLocation: string) => ({ metadataLocation, snapshotId: null, rowCount: 0, sizeBytes: 0 })
const by = { message: "m", author: "test", runId: null }

/** A location that nobody else makes, whose number is one above that of `location`. */
let made = 0
const countOf = (location: string | null | undefined) => Number(location?.split(":")[0] ?? 0)
const counted = (location: string | null) => next(`${countOf(location) + 1}:${made++}`)

/** As many fibers as this, each statement on whichever of the sessions is free. */
const workers = 8
const together = <E, R>(work: (worker: number) => Effect.Effect<unknown, E, R>, count = workers) =>
  Effect.forEach(
    Array.from({ length: count }, (_, n) => n),
    work,
    { concurrency: count, discard: true },
  )

const deadlockRetry = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.retry(effect, { times: 5, while: (error) => error._tag === "SqlError" })

/** What every catalog does when many change it at once. `rounds`: how often each writer does its work. */
export const catalogContractRaces = <E>(catalog: Layer.Layer<Catalog, E>, rounds: number) =>
  layer(catalog, { excludeTestServices: true, timeout: 60_000 })("Many writers of the catalog", (it) => {
    it.effect(
      "that each branch, write a table of their own, merge and delete the branch lose nothing",
      () =>
        Effect.gen(function* () {
          const catalog = yield* Catalog
          yield* together((worker) =>
            Effect.forEach(
              Array.from({ length: rounds }, (_, n) => n),
              (n) =>
                Effect.gen(function* () {
                  const name = RefName.make(`own-${worker}-${n}`)
                  yield* catalog.createBranch(name, { from: mainRef })
                  yield* catalog.commit(name, {
                    ...by,
                    changes: [{ key: key("own", `t${worker}-${n}`), expected: null, next: next(`${worker}/${n}`) }],
                  })
                  yield* catalog.merge(name, by)
                  yield* catalog.deleteRef(name)
                }),
            ),
          )
          assert.strictEqual((yield* catalog.tables(mainRef, { namespace: "own" })).length, workers * rounds)
          const history = yield* catalog.history(mainRef, { limit: 1000 })
          assert.strictEqual(
            new Set(history.flatMap((commit) => commit.tables).filter((table) => table.startsWith("own."))).size,
            workers * rounds,
          )
          assert.deepStrictEqual(
            (yield* catalog.refs({ limit: 100 }))
              .map((ref) => ref.name as string)
              .filter((name) => name.startsWith("own-")),
            [],
          )
        }),
      120_000,
    )

    it.effect(
      "of one table overwrite nobody: every successful merge counts exactly once",
      () =>
        Effect.gen(function* () {
          const catalog = yield* Catalog
          const table = key("hot", "counter")
          yield* catalog.commit(mainRef, { ...by, changes: [{ key: table, expected: null, next: next("0") }] })
          const merged = yield* Ref.make(0)
          const conflicts = yield* Ref.make(0)
          const attempts = rounds
          yield* together((worker) =>
            Effect.forEach(
              Array.from({ length: attempts }, (_, n) => n),
              (n) =>
                Effect.gen(function* () {
                  const name = RefName.make(`hot-${worker}-${n}`)
                  yield* catalog.createBranch(name, { from: mainRef })
                  const seen = (yield* catalog.table(name, table))!.metadataLocation
                  const change = { key: table, expected: seen, next: counted(seen) }
                  yield* catalog.commit(name, { ...by, changes: [change] })
                  yield* catalog.merge(name, by).pipe(
                    Effect.andThen(Ref.update(merged, (count) => count + 1)),
                    Effect.catchTag("CatalogConflict", () =>
                      Effect.andThen(
                        catalog.deleteRef(name),
                        Ref.update(conflicts, (count) => count + 1),
                      ),
                    ),
                  )
                  // Straight on main too: both ways guard the same pointer.
                  const now = (yield* catalog.table(mainRef, table))!.metadataLocation
                  yield* catalog
                    .commit(mainRef, {
                      ...by,
                      changes: [{ key: table, expected: now, next: counted(now) }],
                    })
                    .pipe(
                      Effect.andThen(Ref.update(merged, (count) => count + 1)),
                      Effect.catchTag("CatalogConflict", () => Ref.update(conflicts, (count) => count + 1)),
                    )
                }),
            ),
          )
          const final = yield* catalog.table(mainRef, table)
          assert.strictEqual(countOf(final?.metadataLocation), yield* Ref.get(merged))
          assert.isAbove(yield* Ref.get(conflicts), 0)
          assert.strictEqual((yield* Ref.get(merged)) + (yield* Ref.get(conflicts)), 2 * workers * attempts)
        }),
      120_000,
    )

    it.effect(
      "that create the same new table: one wins, the others are told",
      () =>
        Effect.gen(function* () {
          const catalog = yield* Catalog
          for (let round = 0; round < 10; round++) {
            const outcomes: Array<string> = []
            yield* together((worker) =>
              catalog
                .commit(mainRef, {
                  ...by,
                  changes: [{ key: key("race", `t${round}`), expected: null, next: next(`${worker}`) }],
                })
                .pipe(
                  Effect.match({ onFailure: (error) => error._tag, onSuccess: () => "won" }),
                  Effect.map((outcome) => outcomes.push(outcome)),
                ),
            )
            assert.deepStrictEqual(outcomes.sort(), [...Array(workers - 1).fill("CatalogConflict"), "won"])
          }
        }),
      120_000,
    )

    it.effect(
      "that publish two tables at once are never seen half-way, and a branch sees the same for as long as it lives",
      () =>
        Effect.gen(function* () {
          const catalog = yield* Catalog
          const [a, b] = [key("pair", "a"), key("pair", "b")]
          const both = (expected: string | null, value: string) =>
            [a, b].map((table) => ({ key: table, expected, next: next(value) }))
          yield* catalog.commit(mainRef, { ...by, changes: both(null, "0") })
          const isDone = yield* Ref.make(false)
          const writer = Effect.gen(function* () {
            for (let n = 1; n <= 4 * rounds; n++) {
              const name = RefName.make(`pair-${n}`)
              yield* catalog.createBranch(name, { from: mainRef })
              yield* catalog.commit(name, { ...by, changes: both(String(n - 1), String(n)) })
              yield* catalog.merge(name, by)
            }
            yield* Ref.set(isDone, true)
          })
          const read = (name: RefName) =>
            Effect.map(catalog.tables(name, { namespace: "pair" }), (rows) => rows.map((row) => row.metadataLocation))
          const reader = (worker: number) =>
            Effect.gen(function* () {
              for (let n = 0; !(yield* Ref.get(isDone)); n++) {
                const name = RefName.make(`reader-${worker}-${n}`)
                yield* catalog.createBranch(name, { from: mainRef })
                const first = yield* read(name)
                assert.strictEqual(first.length, 2)
                assert.strictEqual(first[0], first[1])
                yield* Effect.sleep("5 millis")
                assert.deepStrictEqual(yield* read(name), first)
                assert.strictEqual((yield* catalog.table(name, a))?.metadataLocation, first[0])
                yield* catalog.deleteRef(name)
              }
            })
          yield* Effect.all([writer, reader(0), reader(1), reader(2)], { concurrency: "unbounded", discard: true })
        }),
    )

    it.effect(
      "of overlapping sets of tables, in any order, end without losing or doubling one",
      () =>
        Effect.gen(function* () {
          const catalog = yield* Catalog
          const tables = ["e", "a", "d", "b", "c"].map((name) => key("overlap", name))
          const total = yield* Ref.make(0)
          yield* together((worker) =>
            Effect.forEach(
              Array.from({ length: rounds }, (_, n) => n),
              (n) =>
                Effect.gen(function* () {
                  const name = RefName.make(`overlap-${worker}-${n}`)
                  yield* catalog.createBranch(name, { from: mainRef })
                  const mine = [0, 1, 2].map((offset) => tables[(worker * 2 + n + offset) % tables.length]!)
                  const changes = yield* Effect.forEach(mine, (table) =>
                    Effect.map(catalog.table(name, table), (pointer) => {
                      const expected = pointer?.metadataLocation ?? null
                      return { key: table, expected, next: counted(expected) }
                    }),
                  )
                  yield* catalog.commit(name, { ...by, changes })
                  yield* deadlockRetry(catalog.merge(name, by)).pipe(
                    Effect.andThen(Ref.update(total, (count) => count + mine.length)),
                    Effect.catchTag("CatalogConflict", (_: CatalogConflict) => catalog.deleteRef(name)),
                  )
                }),
            ),
          )
          const sum = (yield* catalog.tables(mainRef, { namespace: "overlap" })).reduce(
            (sum, pointer) => sum + countOf(pointer.metadataLocation),
            0,
          )
          assert.strictEqual(sum, yield* Ref.get(total))
          assert.isAbove(sum, 0)
        }),
      120_000,
    )
  })
