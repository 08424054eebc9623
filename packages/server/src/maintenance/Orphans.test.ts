import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { mainRef, NamespaceName, PipelineName, RefName, TableKey } from "@rat/domain"
import {
  Catalog,
  type DataFile,
  FileStore,
  IcebergTable,
  ObjectStore,
  PostgresCatalog,
  planExpiry,
  reachableFrom,
  type TableCommit,
  TestPostgres,
} from "@rat/lakehouse"
import { DateTime, Effect, Layer, Ref, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { migrations } from "../sql/migrations.ts"
import { MaintenanceSettings } from "./MaintenanceSettings.ts"
import { OrphanRepository } from "./OrphanRepository.ts"
import { makeOrphanRun } from "./OrphanRun.ts"

/** The store, with a step at which the process of the test "dies". */
const fails = Ref.makeUnsafe<"never" | "before" | "after">("never")
const Store = Layer.effect(
  ObjectStore,
  Effect.map(ObjectStore, (store) =>
    ObjectStore.of({
      ...store,
      remove: (keys) =>
        Effect.gen(function* () {
          const when = yield* Ref.get(fails)
          if (when === "before") return yield* Effect.die("killed before removing")
          // Half of them are gone when it happens.
          yield* store.remove(when === "after" ? keys.slice(0, Math.ceil(keys.length / 2)) : keys)
          if (when === "after") return yield* Effect.die("killed while removing")
        }),
    }),
  ),
).pipe(
  Layer.provide(
    Layer.unwrap(
      Effect.map(
        Effect.acquireRelease(
          Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-orphans-"))),
          (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
        ),
        (path) => FileStore.layer({ root: path }),
      ),
    ),
  ),
)

const settings = (orphanGraceHours: number) => MaintenanceSettings.layerWith({ orphanGraceHours })

const Test = Layer.mergeAll(PostgresCatalog.layer, OrphanRepository.layer, IcebergTable.layer).pipe(
  Layer.provideMerge(Layer.mergeAll(Store, TestPostgres.layer(migrations))),
)

const none = new Map<number, never>()
const randomOf = (seed: number) => {
  let state = seed
  return (below: number) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}

const keysBelow = (prefix: string) =>
  Effect.flatMap(ObjectStore, (store) =>
    Effect.map(Stream.runCollect(store.list(prefix)), (infos) => infos.map(({ key }) => key)),
  )

/** One sweep; with no grace at all, the second of two sweeps removes what the first one noted. */
const sweep = (graceHours: number) =>
  Effect.gen(function* () {
    const run = yield* makeOrphanRun
    return yield* run(false)
  }).pipe(Effect.provide(settings(graceHours)))

let files = 0

/** Tables with branches and tags at random, and a model of what each version needs. */
const makeWorld = Effect.fnUntraced(function* (seed: number) {
  const random = randomOf(seed)
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const store = yield* ObjectStore
  const namespace = `w${seed}-${files++}`.toLowerCase()
  const keyOf = (index: number) =>
    new TableKey({
      namespace: NamespaceName.make(namespace),
      layer: "silver",
      name: PipelineName.make(`t${index}`),
    })
  /** By metadata location: every object that a reader of it may open. */
  const needs = new Map<string, ReadonlySet<string>>()
  /** What each ref sees of each table; versions of main stay restorable. */
  const refs = new Map<string, Map<number, string>>([["main", new Map()]])
  const versions = new Set<string>()
  /** Main's versions as of a branch's base stay with it: merging asks whether main still has them. */
  const bases = new Map<string, ReadonlyArray<string>>()

  const objectsOf = Effect.fnUntraced(function* (made: TableCommit) {
    // Written down by the model from the files that this commit made, not by walking manifests.
    const { metadata } = made
    const found = new Set<string>([made.metadataLocation])
    for (const { metadataFile } of metadata.metadataLog) found.add(metadataFile)
    for (const snapshot of metadata.snapshots) {
      found.add(snapshot.manifestList)
      for (const line of yield* tables.manifests(metadata, snapshot.snapshotId)) {
        found.add(line.path)
        for (const { file, status } of yield* tables.readManifest(metadata, line)) {
          if (status !== "deleted") found.add(file.filePath)
        }
      }
    }
    needs.set(made.metadataLocation, found)
  })

  const dataFile = Effect.fnUntraced(function* (location: string, run: string) {
    const filePath = `${location}/data/${run}-0.parquet`
    yield* Effect.orDie(store.put(store.keyOf(filePath), new TextEncoder().encode(run)))
    return {
      content: "data",
      filePath,
      specId: 0,
      partition: [],
      recordCount: 1,
      fileSizeBytes: run.length,
      columnSizes: none,
      valueCounts: none,
      nullValueCounts: none,
      nanValueCounts: none,
      lowerBounds: none,
      upperBounds: none,
    } satisfies DataFile as DataFile
  })

  const commit = Effect.fnUntraced(function* (ref: string, index: number) {
    const pointers = refs.get(ref)!
    const location = store.locationOf(`${namespace}/silver/t${index}`)
    const before = pointers.get(index)
    const base = before === undefined ? null : { metadataLocation: before, metadata: yield* tables.load(before) }
    const run = `c${++files}`
    const isExpiry = base !== null && random(4) === 0
    const isOverwrite = base !== null && random(3) === 0
    const expiry = isExpiry
      ? planExpiry(base.metadata, { nowMs: Date.now() + 10_000, maxAgeMs: 0, minSnapshots: 1 }).updates
      : []
    const made = yield* tables.commit({
      base,
      location,
      runId: run,
      updates:
        base === null
          ? [
              {
                action: "add-schema",
                schema: {
                  schemaId: 0,
                  identifierFieldIds: [],
                  fields: [{ id: 1, name: "id", required: false, type: "int" }],
                },
              },
              { action: "set-current-schema", schemaId: -1 },
            ]
          : expiry,
      snapshot: isExpiry
        ? null
        : {
            operation: isOverwrite ? "overwrite" : "append",
            added: [yield* dataFile(location, run)],
            addedDeletes: [],
            removed: isOverwrite ? "all" : new Set(),
            removedDeletes: new Set(),
          },
    })
    yield* objectsOf(made)
    yield* catalog.commit(RefName.make(ref), {
      message: run,
      author: "test",
      runId: null,
      changes: [
        {
          key: keyOf(index),
          expected: before ?? null,
          next: { metadataLocation: made.metadataLocation, snapshotId: null, rowCount: 0, sizeBytes: 0 },
        },
      ],
    })
    pointers.set(index, made.metadataLocation)
    if (ref === "main") versions.add(made.metadataLocation)
  })

  const step = Effect.fnUntraced(function* () {
    const branches = [...refs.keys()].filter((name) => name !== "main")
    const someBranch = branches[random(Math.max(1, branches.length))]
    switch (random(7)) {
      case 0: {
        const name = `${namespace}/b${++files}`
        yield* catalog.createBranch(RefName.make(name), { from: mainRef })
        refs.set(name, new Map(refs.get("main")))
        bases.set(name, [...refs.get("main")!.values()])
        return
      }
      case 1:
        if (someBranch === undefined) return
        yield* catalog.deleteRef(RefName.make(someBranch))
        refs.delete(someBranch)
        bases.delete(someBranch)
        return
      case 2:
      case 3:
        if (someBranch !== undefined) yield* commit(someBranch, random(3))
        return
      case 4: {
        // What an attempt left that never committed.
        const location = store.locationOf(`${namespace}/silver/t${random(3)}`)
        yield* dataFile(location, `lost${++files}`)
        return
      }
      default:
        yield* commit("main", random(3))
    }
  })

  /** What main replaced is forgotten, but for what branches see. */
  const prune = Effect.gen(function* () {
    const before = DateTime.add(yield* DateTime.now, { minutes: 1 })
    // A call goes on where the last one ended: two see everything.
    yield* Effect.repeat(catalog.prune(before, 1_000_000), { times: 2 })
    versions.clear()
    // What a branch sees now stays until the next time, also if the branch ends before.
    for (const location of [...refs.get("main")!.values(), ...[...bases.values()].flat()]) versions.add(location)
  })

  const needed = () => {
    const roots = new Set([
      ...versions,
      ...[...bases.values()].flat(),
      ...[...refs.values()].flatMap((pointers) => [...pointers.values()]),
    ])
    return new Set([...roots].flatMap((root) => [...needs.get(root)!]).map(store.keyOf))
  }
  return { namespace, step, prune, needed }
})

layer(Test, { excludeTestServices: true })("Orphans", (it) => {
  it.effect(
    "what any branch or restorable version needs stays, everything else of tables goes, wherever a sweep is killed",
    () =>
      Effect.gen(function* () {
        for (const seed of [Math.floor(Math.random() * 1e6), 1, 2, 3]) {
          const world = yield* makeWorld(seed)
          for (let round = 0; round < 4; round++) {
            for (let steps = 0; steps < 12; steps++) yield* world.step()
            if (round % 2 === 1) yield* world.prune
            const before = new Set(yield* keysBelow(`${world.namespace}/`))
            yield* Effect.sleep(5) // objects must be older than the moment of the sweep
            yield* sweep(0)
            assert.deepStrictEqual(new Set(yield* keysBelow(`${world.namespace}/`)), before, `seed ${seed}: first seen`)
            yield* Effect.sleep(5)
            for (const when of ["before", "after"] as const) {
              yield* Ref.set(fails, when)
              yield* Effect.exit(sweep(0))
              yield* Ref.set(fails, "never")
              const left = new Set(yield* keysBelow(`${world.namespace}/`))
              for (const key of world.needed()) assert.isTrue(left.has(key), `seed ${seed}: ${key} is needed`)
            }
            yield* sweep(0)
            const after = yield* keysBelow(`${world.namespace}/`)
            assert.deepStrictEqual(after.toSorted(), [...world.needed()].toSorted(), `seed ${seed}`)
          }
          const sql = yield* SqlClient.SqlClient
          yield* sweep(0)
          assert.deepStrictEqual(yield* sql`select key from maintenance_orphan`, [])
        }
      }).pipe(Effect.orDie),
    120_000,
  )

  it.effect(
    "an orphan is known for the whole grace time before it goes, and begins anew when it is written again",
    () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const store = yield* ObjectStore
        const key = "grace/silver/t/data/x-0.parquet"
        const put = Effect.orDie(store.put(key, new TextEncoder().encode("x")))
        const exists = Effect.map(keysBelow("grace/"), (keys) => keys.includes(key))
        const age = sql`update maintenance_orphan set first_seen = first_seen - interval '2 hours'`
        yield* put
        yield* Effect.sleep(5)
        yield* sweep(0)
        yield* sweep(1)
        assert.isTrue(yield* exists)
        // Younger than the grace time, whatever the ledger says.
        yield* age
        yield* sweep(1)
        assert.isTrue(yield* exists)
        yield* put
        yield* Effect.sleep(5)
        yield* sweep(0)
        assert.isTrue(yield* exists)
        yield* Effect.sleep(5)
        yield* sweep(0)
        assert.isFalse(yield* exists)
      }).pipe(Effect.orDie),
  )

  it.effect("files of runs at work, landing files and what is not ours are left alone", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const store = yield* ObjectStore
      const run = "01890a5d-ac96-774b-bcce-b302099a8057"
      const done = "01890a5d-ac96-774b-bcce-b302099a8058"
      yield* sql`
        insert into run (id, kind, namespace, status, trigger, finished_at)
        values (${run}, 'noop', 'default', 'queued', 'test', null), (${done}, 'noop', 'default', 'failed', 'test', now())`
      const zone = yield* sql<{ id: string }>`
        insert into landing_zone (namespace, name) values ('default', 'z') returning id`
      yield* sql`
        insert into landing_file (zone_id, filename, object_key, content_type)
        values (${zone[0]!.id}, 'a.csv', 'default/landing/z/a.csv', 'text/csv')`
      const view = "default/silver/v-0123456789ab/metadata/00001-x.metadata.json"
      yield* sql`
        insert into iceberg_view (namespace, layer, name, metadata_location)
        values ('default', 'silver', 'v', ${store.locationOf(view)})`
      const kept = [
        view,
        "default/landing/z/a.csv",
        `default/silver/t/data/${run}-1.0-0.parquet`,
        `default/silver/t/metadata/00001-${run}-abc.metadata.json`,
        "blobs/ab/abcdef",
        "somebody/elses/folder/data/file.parquet",
      ]
      const gone = ["default/landing/z/interrupted.csv", `default/silver/t/data/${done}-1.0-0.parquet`]
      for (const key of [...kept, ...gone]) yield* Effect.orDie(store.put(key, new TextEncoder().encode("x")))
      yield* Effect.sleep(5)
      yield* sweep(0)
      yield* Effect.sleep(5)
      const report = yield* sweep(0)
      const left = yield* keysBelow("")
      for (const key of kept) assert.include(left, key)
      for (const key of gone) assert.notInclude(left, key)
      assert.isAtLeast(report.removed_objects, gone.length)
    }).pipe(Effect.orDie),
  )

  it.effect("a table whose metadata is broken keeps its files and is named", () =>
    Effect.gen(function* () {
      const store = yield* ObjectStore
      const put = (key: string) => Effect.orDie(store.put(key, new TextEncoder().encode("{}")))
      yield* put("broken/silver/t/metadata/1.metadata.json")
      yield* put("broken/silver/t/data/a.parquet")
      const location = store.locationOf("broken/silver/t/metadata/1.metadata.json")
      const missing = store.locationOf("broken/silver/gone/metadata/1.metadata.json")
      const found = yield* reachableFrom({ tables: Stream.make(location, missing) })
      assert.deepStrictEqual(found.unreadable.map((each) => each.location).toSorted(), [missing, location].toSorted())
      assert.isTrue(found.isLive("broken/silver/t/data/a.parquet"))
      assert.isTrue(found.isLive("broken/silver/gone/data/a.parquet"))
      assert.isFalse(found.isLive("broken/silver/other/data/a.parquet"))
    }).pipe(Effect.orDie),
  )
})
