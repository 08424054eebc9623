import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import { Effect, type Layer } from "effect"
import fc from "fast-check"
import { Catalog } from "./Catalog.ts"

const key = (name: string) =>
  new TableKey({ namespace: NamespaceName.make("fence"), layer: "gold", name: PipelineName.make(name) })
const next = (metadataLocation: string) => ({ metadataLocation, snapshotId: null, rowCount: 1, sizeBytes: 2 })
const by = { message: "m", author: "test" }

/** What every catalog does for the attempts of a run that share its branch. */
export const catalogContractFence = <E>(
  name: string,
  catalog: Layer.Layer<Catalog, E>,
  options: { readonly runs: number },
) =>
  layer(catalog, { excludeTestServices: true, timeout: 60_000 })(`The branch of a run in ${name}`, (it) => {
    const attempt = (run: string, fence: bigint) =>
      Effect.map(Catalog, (catalog) => {
        const ref = RefName.make(`run-${run}`)
        return {
          hold: (isFresh = false) => catalog.holdBranch(ref, { from: mainRef, runId: run, fence, isFresh }),
          commit: (table: TableKey, expected: string | null, location: string) =>
            catalog.commitHeld(ref, {
              ...by,
              runId: run,
              fence,
              changes: [{ key: table, expected, next: next(location) }],
            }),
          location: (table: TableKey) =>
            Effect.map(catalog.table(ref, table), (pointer) => pointer?.metadataLocation ?? null),
        }
      })

    it.effect("is made by the first attempt and found by the next one, with what was done there", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const table = key("found")
        const [first, second] = [yield* attempt("f1", 1n), yield* attempt("f1", 2n)]
        const made = yield* first.hold()
        assert.deepStrictEqual(yield* first.hold(), made)
        const committed = yield* first.commit(table, null, "f1@1")
        yield* catalog.commit(mainRef, {
          ...by,
          runId: null,
          changes: [{ key: key("other"), expected: null, next: next("o@1") }],
        })
        const taken = yield* second.hold()
        assert.deepStrictEqual([taken.base, taken.runId, taken.createdAt], [made.base, "f1", made.createdAt])
        assert.strictEqual(yield* second.location(table), "f1@1")
        // The same result again is the same commit.
        if (catalog.joinsTransactions) assert.deepStrictEqual(yield* second.commit(table, null, "f1@1"), committed)
        yield* second.commit(table, "f1@1", "f1@2")
        assert.deepStrictEqual((yield* catalog.merge(RefName.make("run-f1"), { ...by, runId: "f1" }))?.tables, [
          "fence.gold.found",
        ])
      }),
    )

    it.effect("is closed to an attempt that came before its holder: it commits, replaces and rebases nothing", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const table = key("closed")
        const [stale, holder] = [yield* attempt("f2", 1n), yield* attempt("f2", 2n)]
        yield* stale.hold()
        yield* stale.commit(table, null, "f2@1")
        yield* holder.hold()
        const refused = yield* Effect.all(
          [
            stale.hold(),
            stale.hold(true),
            stale.commit(table, "f2@1", "f2@stale"),
            stale.commit(key("more"), null, "x"),
          ].map((effect) => Effect.flip(effect as Effect.Effect<unknown, { readonly _tag: string }, Catalog>)),
        )
        assert.deepStrictEqual(
          refused.map(({ _tag }) => _tag),
          Array(4).fill("BranchHeld"),
        )
        const rebase = (fence: bigint, expected: string, location: string) =>
          catalog.rebase(RefName.make("run-f2"), { key: table, expected, onto: "main@1", next: next(location), fence })
        assert.isFalse(yield* rebase(1n, "f2@1", "f2@stale"))
        assert.strictEqual(yield* holder.location(table), "f2@1")
        assert.isNull(yield* holder.location(key("more")))
        assert.isTrue(yield* rebase(2n, "f2@1", "f2@rebased"))
        assert.strictEqual(yield* holder.location(table), "f2@rebased")
      }),
    )

    it.effect("made anew forgets what was done there and begins at what main is now; its fence stays", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const table = key("fresh")
        const [stale, holder] = [yield* attempt("f3", 1n), yield* attempt("f3", 2n)]
        const made = yield* stale.hold()
        yield* stale.commit(table, null, "f3@1")
        yield* catalog.commit(mainRef, {
          ...by,
          runId: null,
          changes: [{ key: table, expected: null, next: next("main@1") }],
        })
        const fresh = yield* holder.hold(true)
        assert.isAbove(Number(fresh.base), Number(made.base ?? 0n))
        assert.strictEqual(yield* holder.location(table), "main@1")
        assert.strictEqual((yield* Effect.flip(stale.commit(table, "main@1", "f3@stale")))._tag, "BranchHeld")
        yield* holder.commit(table, "main@1", "f3@2")
        yield* catalog.merge(RefName.make("run-f3"), { ...by, runId: "f3" })
        assert.strictEqual((yield* catalog.table(mainRef, table))?.metadataLocation, "f3@2")
        // Who comes too late makes no branch that nobody would end.
        if (catalog.joinsTransactions) {
          assert.strictEqual((yield* Effect.flip(stale.hold()))._tag, "BranchHeld")
          assert.strictEqual((yield* Effect.flip(holder.hold()))._tag, "BranchHeld")
        }
      }),
    )

    it.effect("is not somebody else's branch, and begins where another run's branch is when it is made of that", () =>
      Effect.gen(function* () {
        const catalog = yield* Catalog
        const table = key("resumed")
        const first = yield* attempt("f4", 1n)
        yield* first.hold()
        yield* first.commit(table, null, "f4@1")
        const hold = (from: RefName) => catalog.holdBranch(RefName.make("run-f5"), { from, runId: "f5", fence: 1n })
        assert.strictEqual((yield* Effect.flip(hold(RefName.make("run-nowhere"))))._tag, "RefNotFound")
        yield* hold(RefName.make("run-f4"))
        assert.strictEqual((yield* catalog.table(RefName.make("run-f5"), table))?.metadataLocation, "f4@1")
        const other = catalog.holdBranch(RefName.make("run-f4"), { from: mainRef, runId: "f9", fence: 9n })
        assert.strictEqual((yield* Effect.flip(other))._tag, "RefExists")
        yield* catalog.merge(RefName.make("run-f5"), { ...by, runId: "f5" })
        assert.strictEqual((yield* catalog.table(mainRef, table))?.metadataLocation, "f4@1")
      }),
    )

    /**
     * Attempts do what they do in any order, some at the same time. Whatever the order, the newest attempt that has the branch finds its
     * own commit there afterwards, and no older one has put anything upon it.
     */
    it.effect(
      "ends with the commit of the newest attempt, in whatever order the attempts come and commit",
      () =>
        Effect.gen(function* () {
          const catalog = yield* Catalog
          let run = 0
          const services = yield* Effect.context<Catalog>()
          const schedules = fc.array(
            fc.record({ attempt: fc.integer({ min: 1, max: 4 }), isCommit: fc.boolean(), isAlongside: fc.boolean() }),
            { minLength: 2, maxLength: 10 },
          )
          const holds = async (
            schedule: ReadonlyArray<{ attempt: number; isCommit: boolean; isAlongside: boolean }>,
          ) => {
            const name = `f-${++run}-${process.pid}`
            const table = key(`t${run}`)
            const program = Effect.gen(function* () {
              const attempts = new Map<number, Effect.Success<ReturnType<typeof attempt>>>()
              for (let fence = 1; fence <= 4; fence++) attempts.set(fence, yield* attempt(name, BigInt(fence)))
              // As the runner does: a conflict is looked at and tried once more; who is refused stops.
              const act = (step: (typeof schedule)[number]) =>
                Effect.gen(function* () {
                  const { commit, hold, location } = attempts.get(step.attempt)!
                  if (!step.isCommit) return yield* hold()
                  for (let tries = 0; tries < 3; tries++) {
                    const outcome = yield* Effect.result(
                      commit(table, yield* location(table), `${name}@${step.attempt}`),
                    )
                    if (outcome._tag === "Success" || outcome.failure._tag !== "CatalogConflict") return
                  }
                  return
                }).pipe(Effect.ignore)
              const pending: Array<Effect.Effect<unknown, never, Catalog>> = []
              for (const step of schedule) {
                pending.push(act(step))
                if (step.isAlongside) continue
                yield* Effect.all(pending.splice(0), { concurrency: "unbounded" })
              }
              yield* Effect.all(pending, { concurrency: "unbounded" })
              // The last one takes the branch while the one before it commits.
              const last = attempts.get(4)!
              const before = Effect.ignore(
                attempts
                  .get(3)!
                  .commit(table, yield* Effect.orElseSucceed(last.location(table), () => null), `${name}@late`),
              )
              yield* Effect.all(
                [before, Effect.andThen(last.hold(), act({ attempt: 4, isCommit: true, isAlongside: false }))],
                {
                  concurrency: "unbounded",
                },
              )
              const found = yield* last.location(table)
              yield* Effect.ignore(attempts.get(3)!.commit(table, found, `${name}@later`))
              assert.strictEqual(yield* last.location(table), `${name}@4`)
              yield* catalog.deleteRef(RefName.make(`run-${name}`))
            })
            await Effect.runPromiseWith(services)(program)
          }
          yield* Effect.promise(() => fc.assert(fc.asyncProperty(schedules, holds), { numRuns: options.runs }))
        }),
      120_000,
    )
  })
