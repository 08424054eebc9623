import { createHash } from "node:crypto"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { FilePath } from "@rat/domain"
import { FileStore, ObjectStore, TestPostgres } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { migrations } from "../sql/migrations.ts"
import { FileRepository } from "./FileRepository.ts"

const store = Layer.effect(
  ObjectStore,
  Effect.gen(function* () {
    const root = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-file-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
    )
    return yield* ObjectStore.pipe(Effect.provide(FileStore.layer({ root })))
  }),
)

const Test = FileRepository.layer.pipe(
  Layer.provideMerge(Layer.merge(store, Outbox.layer.pipe(Layer.provideMerge(TestPostgres.layer(migrations))))),
)

const bytes = (text: string) => new TextEncoder().encode(text)
const path = (text: string) => FilePath.make(text)

layer(Test, { excludeTestServices: true })("FileRepository", (it) => {
  it.effect("keeps a file's bytes under their hash and gives them back", () =>
    Effect.gen(function* () {
      const files = yield* FileRepository
      const objects = yield* ObjectStore
      const at = path("default/pipelines/bronze/a/pipeline.sql")
      const written = yield* files.write(at, bytes("select 1"))
      const expected = createHash("sha256").update("select 1").digest("hex")
      assert.strictEqual(written.hash, expected)
      assert.strictEqual((yield* objects.head(`blobs/sha256/${expected.slice(0, 2)}/${expected}`)).sizeBytes, 8)
      assert.strictEqual(new TextDecoder().decode((yield* files.read(at)).bytes), "select 1")
    }),
  )

  it.effect("keeps old content readable by hash after a change and after removal", () =>
    Effect.gen(function* () {
      const files = yield* FileRepository
      const at = path("default/pipelines/bronze/b/pipeline.sql")
      const first = yield* files.write(at, bytes("old"))
      yield* files.write(at, bytes("new"))
      yield* files.remove([at])
      assert.strictEqual(new TextDecoder().decode(yield* files.blob(first.hash)), "old")
      assert.strictEqual((yield* Effect.flip(files.read(at)))._tag, "FileNotFound")
    }),
  )

  it.effect("tells of changes only: an equal save makes no event and keeps the time", () =>
    Effect.gen(function* () {
      const files = yield* FileRepository
      const sql = yield* SqlClient.SqlClient
      const at = path("default/pipelines/bronze/c/config.yaml")
      const first = yield* files.write(at, bytes("x: 1"))
      const second = yield* files.write(at, bytes("x: 1"))
      assert.deepStrictEqual(second, first)
      yield* files.write(at, bytes("x: 2"))
      yield* files.remove([at, "default/not/there"])
      const events = yield* sql<{ type: string }>`select type from outbox where key = ${at} order by id`
      assert.deepStrictEqual(
        events.map((event) => event.type),
        ["file.written", "file.written", "file.deleted"],
      )
    }),
  )

  it.effect("lists exactly what lies below a prefix, in order", () =>
    Effect.gen(function* () {
      const files = yield* FileRepository
      for (const name of ["d/x.sql", "d/y.sql", "d2/x.sql", "d_/x.sql", "d/é.sql"]) {
        yield* files.write(path(`default/pipelines/bronze/${name}`), bytes(name))
      }
      const listed = yield* files.list("default/pipelines/bronze/d/")
      assert.deepStrictEqual(
        listed.map((file) => file.path.slice("default/pipelines/bronze/".length)),
        ["d/x.sql", "d/y.sql", "d/é.sql"],
      )
    }),
  )

  it.effect("refuses a file of a namespace that does not exist, and the whole batch with it", () =>
    Effect.gen(function* () {
      const files = yield* FileRepository
      const error = yield* Effect.flip(files.write(path("nowhere/pipelines/bronze/a/pipeline.sql"), bytes("select 1")))
      assert.strictEqual(error._tag, "NamespaceNotFound")
      assert.lengthOf(yield* files.list("nowhere/"), 0)
    }),
  )
})
