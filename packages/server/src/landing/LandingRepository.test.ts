import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, layer } from "@effect/vitest"
import { LandingZoneCreate, LandingZoneUpdate, NamespaceName, ZoneName } from "@rat/domain"
import { FileStore, ObjectStore, TestPostgres } from "@rat/lakehouse"
import { Effect, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { migrations } from "../sql/migrations.ts"
import { LandingRepository } from "./LandingRepository.ts"

const folder = Layer.effect(
  ObjectStore,
  Effect.gen(function* () {
    const root = yield* Effect.acquireRelease(
      Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-landing-"))),
      (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
    )
    return yield* ObjectStore.pipe(Effect.provide(FileStore.layer({ root })))
  }),
)

const Test = LandingRepository.layer.pipe(
  Layer.provideMerge(Layer.merge(folder, Outbox.layer.pipe(Layer.provideMerge(TestPostgres.layer(migrations))))),
)

const namespace = NamespaceName.make("default")
const zoneOf = (name: string) => ({ namespace, name: ZoneName.make(name) })

const sent = (name: string, text = "a,b\n1,2\n") =>
  Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "rat-upload-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
  ).pipe(
    Effect.map((path) => {
      const localPath = join(path, "upload")
      writeFileSync(localPath, text)
      return { localPath, name, contentType: "text/csv", sizeBytes: text.length }
    }),
  )

layer(Test, { excludeTestServices: true })("LandingRepository", (it) => {
  it.effect("stores an upload under its time and name, and lists it with the zone's counts", () =>
    Effect.gen(function* () {
      const landing = yield* LandingRepository
      const objects = yield* ObjectStore
      const zone = zoneOf("orders")
      yield* landing.create(new LandingZoneCreate({ ...zone, description: "d" }))
      const file = yield* landing.upload(zone, yield* sent("../orders.csv"))
      assert.match(file.filename, /^\d{8}_\d{6}_orders\.csv$/)
      assert.strictEqual(file.s3_path, `default/landing/orders/${file.filename}`)
      assert.strictEqual(new TextDecoder().decode(yield* objects.get(file.s3_path)), "a,b\n1,2\n")
      const found = yield* landing.find(zone)
      assert.strictEqual(found.file_count, 1)
      assert.strictEqual(found.total_bytes, 8)
      const listing = yield* landing.listing(zone)
      assert.deepStrictEqual(
        listing?.files.map((each) => each.key),
        [file.s3_path],
      )
    }),
  )

  it.effect("keeps both of two files that are sent under one name in the same second", () =>
    Effect.gen(function* () {
      const landing = yield* LandingRepository
      const objects = yield* ObjectStore
      const zone = zoneOf("twins")
      yield* landing.create(new LandingZoneCreate(zone))
      const uploads = yield* Effect.forEach(["1", "2", "3", "4"], (text) => sent("same.csv", text))
      const files = yield* Effect.forEach(uploads, (upload) => landing.upload(zone, upload), {
        concurrency: "unbounded",
      })
      assert.strictEqual(new Set(files.map((file) => file.filename)).size, 4)
      const texts = yield* Effect.forEach(files, (file) => objects.get(file.s3_path))
      assert.deepStrictEqual(
        texts.map((bytes) => new TextDecoder().decode(bytes)),
        ["1", "2", "3", "4"],
      )
    }),
  )

  it.effect("shows nothing of an upload whose bytes could not be stored", () =>
    Effect.gen(function* () {
      const landing = yield* LandingRepository
      const sql = yield* SqlClient.SqlClient
      const zone = zoneOf("broken")
      yield* landing.create(new LandingZoneCreate(zone))
      const lost = { ...(yield* sent("x.csv")), localPath: "/nonexistent/file" }
      yield* Effect.flip(landing.upload(zone, lost))
      assert.strictEqual((yield* landing.find(zone)).file_count, 0)
      const rows =
        yield* sql`select 1 from landing_file as f join landing_zone as z on z.id = f.zone_id where z.name = 'broken'`
      assert.lengthOf(rows, 0)
    }),
  )

  it.effect("announces an upload in the outbox", () =>
    Effect.gen(function* () {
      const landing = yield* LandingRepository
      const sql = yield* SqlClient.SqlClient
      const zone = zoneOf("events")
      yield* landing.create(new LandingZoneCreate(zone))
      const file = yield* landing.upload(zone, yield* sent("x.csv"))
      const rows = yield* sql<{ type: string; payload: { zone: string; file_id: string } }>`
        select type, payload from outbox where key = ${file.s3_path}`
      assert.deepStrictEqual(
        rows.map((row) => [row.type, row.payload.zone, row.payload.file_id]),
        [["landing.uploaded", "events", file.id]],
      )
    }),
  )

  it.effect("deletes files and zones with their bytes", () =>
    Effect.gen(function* () {
      const landing = yield* LandingRepository
      const objects = yield* ObjectStore
      const zone = zoneOf("gone")
      yield* landing.create(new LandingZoneCreate(zone))
      const first = yield* landing.upload(zone, yield* sent("1.csv"))
      const second = yield* landing.upload(zone, yield* sent("2.csv"))
      yield* landing.removeFile(zone, first.id)
      assert.strictEqual((yield* Effect.flip(objects.head(first.s3_path)))._tag, "ObjectNotFound")
      assert.strictEqual((yield* Effect.flip(landing.removeFile(zone, first.id)))._tag, "LandingFileNotFound")
      yield* landing.remove(zone)
      assert.strictEqual((yield* Effect.flip(objects.head(second.s3_path)))._tag, "ObjectNotFound")
      assert.strictEqual((yield* Effect.flip(landing.find(zone)))._tag, "ZoneNotFound")
      assert.isNull(yield* landing.listing(zone))
    }),
  )

  it.effect("refuses a second zone of one name and a zone in a namespace that is not there", () =>
    Effect.gen(function* () {
      const landing = yield* LandingRepository
      yield* landing.create(new LandingZoneCreate(zoneOf("once")))
      assert.strictEqual((yield* Effect.flip(landing.create(new LandingZoneCreate(zoneOf("once")))))._tag, "ZoneExists")
      const nowhere = new LandingZoneCreate({ namespace: NamespaceName.make("nowhere"), name: ZoneName.make("z") })
      assert.strictEqual((yield* Effect.flip(landing.create(nowhere)))._tag, "NamespaceNotFound")
    }),
  )

  it.effect("changes only the fields that are given", () =>
    Effect.gen(function* () {
      const landing = yield* LandingRepository
      const zone = zoneOf("text")
      yield* landing.create(new LandingZoneCreate({ ...zone, description: "first" }))
      yield* landing.update(zone, new LandingZoneUpdate({ owner: "me" }))
      const changed = yield* landing.update(zone, new LandingZoneUpdate({ expected_schema: "a int" }))
      assert.deepStrictEqual([changed.description, changed.owner, changed.expected_schema], ["first", "me", "a int"])
    }),
  )
})
