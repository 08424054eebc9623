import {
  type LandingFile,
  LandingFileNotFound,
  type LandingZone,
  type LandingZoneCreate,
  type LandingZoneUpdate,
  NamespaceNotFound,
  ZoneExists,
  ZoneListing,
  ZoneNotFound,
} from "@rat/domain"
import { ObjectStore, type StoreUnavailable } from "@rat/lakehouse"
import { Context, DateTime, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"
import { type FileRow, fileColumns, toLandingFile, toLandingZone, type ZoneRow, zoneColumns } from "./LandingRow.ts"
import { storedName } from "./StoredName.ts"

type Sql = SqlError.SqlError
type ZoneKey = { readonly namespace: string; readonly name: string }
type Page = { readonly limit: number; readonly offset: number }

/** Uploads of one name to one zone in one second. */
const maxSameNames = 10_000

/** A local file that a client sent. It is taken over: it may be gone afterwards. */
export interface Upload {
  readonly localPath: string
  /** The name that the client gave; whatever it holds is made harmless. */
  readonly name: string
  readonly contentType: string
  readonly sizeBytes: number
}

/**
 * The only writer of tables `landing_zone` and `landing_file`. Invariants: a listed file's bytes are durable in the
 * object store; names are unique within a zone. A file is reserved (row without `uploaded_at`), stored, then shown, and
 * hidden before its bytes go; a crash in between leaves bytes or a reservation that nobody sees. Triggers append the events of
 * zones and of deleted files (0014_event.sql).
 */
export class LandingRepository extends Context.Service<
  LandingRepository,
  {
    readonly create: (zone: LandingZoneCreate) => Effect.Effect<LandingZone, NamespaceNotFound | ZoneExists | Sql>
    /** Makes the zones that are missing; answers with their names. Joins a surrounding transaction. */
    readonly ensure: (namespace: string, names: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>, Sql>
    readonly find: (key: ZoneKey) => Effect.Effect<LandingZone, ZoneNotFound | Sql>
    readonly list: (
      filter: { readonly namespace?: string | undefined } & Page,
    ) => Effect.Effect<{ readonly zones: ReadonlyArray<LandingZone>; readonly total: number }, Sql>
    readonly update: (key: ZoneKey, change: LandingZoneUpdate) => Effect.Effect<LandingZone, ZoneNotFound | Sql>
    /** Deletes the zone, its files' rows and then their bytes. */
    readonly remove: (key: ZoneKey) => Effect.Effect<void, ZoneNotFound | StoreUnavailable | Sql>
    /** Newest first. */
    readonly files: (
      key: ZoneKey,
      page: Page,
    ) => Effect.Effect<{ readonly files: ReadonlyArray<LandingFile>; readonly total: number }, ZoneNotFound | Sql>
    readonly file: (key: ZoneKey, id: string) => Effect.Effect<LandingFile, ZoneNotFound | LandingFileNotFound | Sql>
    readonly upload: (key: ZoneKey, upload: Upload) => Effect.Effect<LandingFile, ZoneNotFound | StoreUnavailable | Sql>
    readonly removeFile: (
      key: ZoneKey,
      id: string,
    ) => Effect.Effect<void, ZoneNotFound | LandingFileNotFound | StoreUnavailable | Sql>
    /** The zone and the file that an object key names: `ns/landing/zone/stored name`. */
    readonly byKey: (objectKey: string) => Effect.Effect<LandingFile | null, Sql>
    /** Files whose object keys start with a prefix, in key order. */
    readonly under: (prefix: string) => Effect.Effect<ReadonlyArray<LandingFile>, Sql>
    /** All files of a zone, oldest first, for a run; null when there is no such zone. */
    readonly listing: (key: ZoneKey) => Effect.Effect<ZoneListing | null, Sql>
  }
>()("rat/server/landing/LandingRepository") {
  static readonly layer = Layer.effect(
    LandingRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const objects = yield* ObjectStore
      const outbox = yield* Outbox

      const find = Effect.fn("LandingRepository.find")(function* ({ namespace, name }: ZoneKey) {
        const rows = yield* sql<ZoneRow>`
          select ${sql.literal(zoneColumns)}
          from landing_zone as z
          where z.namespace = ${namespace} and z.name = ${name}`
        return rows[0] === undefined ? yield* new ZoneNotFound({ namespace, name }) : toLandingZone(rows[0])
      })

      const create = Effect.fn("LandingRepository.create")(function* (zone: LandingZoneCreate) {
        const { namespace, name } = zone
        const rows = yield* sql<{ id: string }>`
          insert into landing_zone (namespace, name, description)
          select name, ${name}, ${zone.description ?? ""}
          from namespace
          where name = ${namespace}
          on conflict (namespace, name) do nothing
          returning id`
        yield* outbox.wake
        if (rows.length === 1) return yield* find(zone).pipe(Effect.catchTag("ZoneNotFound", Effect.die))
        const known = yield* sql`select 1 from namespace where name = ${namespace}`
        if (known.length === 0) return yield* new NamespaceNotFound({ namespace })
        return yield* new ZoneExists({ namespace, name })
      })

      const ensure = Effect.fn("LandingRepository.ensure")(function* (namespace: string, names: ReadonlyArray<string>) {
        if (names.length === 0) return []
        const rows = yield* sql<{ name: string }>`
          insert into landing_zone (namespace, name)
          select ${namespace}, name
          from jsonb_array_elements_text(${toJsonb([...new Set(names)])}::jsonb) as wanted (name)
          on conflict (namespace, name) do nothing
          returning name`
        yield* outbox.wake
        return rows.map((row) => row.name)
      })

      const list = Effect.fn("LandingRepository.list")(function* (
        filter: { readonly namespace?: string | undefined } & Page,
      ) {
        const where = filter.namespace === undefined ? sql`true` : sql`z.namespace = ${filter.namespace}`
        const rows = yield* sql<ZoneRow>`
          select ${sql.literal(zoneColumns)}
          from landing_zone as z
          where ${where}
          order by z.namespace, z.name
          limit ${filter.limit} offset ${filter.offset}`
        const total = yield* sql<{ total: bigint }>`select count(*) as total from landing_zone as z where ${where}`
        return { zones: rows.map(toLandingZone), total: Number(total[0]!.total) }
      })

      const update = Effect.fn("LandingRepository.update")(function* (
        { namespace, name }: ZoneKey,
        change: LandingZoneUpdate,
      ) {
        yield* sql`
          update landing_zone
          set description = coalesce(${change.description ?? null}, description),
              owner = coalesce(${change.owner ?? null}, owner),
              expected_schema = coalesce(${change.expected_schema ?? null}, expected_schema),
              updated_at = now()
          where namespace = ${namespace} and name = ${name}`
        yield* outbox.wake
        return yield* find({ namespace, name })
      })

      const remove = Effect.fn("LandingRepository.remove")(function* (key: ZoneKey) {
        const zone = yield* find(key)
        const removed = yield* sql<{ object_key: string }>`
          with gone as (delete from landing_zone where id = ${zone.id} returning id)
          select f.object_key
          from landing_file as f
          join gone on gone.id = f.zone_id`
        yield* outbox.wake
        yield* objects.remove(removed.map((row) => row.object_key))
      })

      const files = Effect.fn("LandingRepository.files")(function* (key: ZoneKey, page: Page) {
        const zone = yield* find(key)
        const rows = yield* sql<FileRow>`
          select ${sql.literal(fileColumns)}
          from landing_file
          where zone_id = ${zone.id} and uploaded_at is not null
          order by uploaded_at desc, id
          limit ${page.limit} offset ${page.offset}`
        return { files: rows.map(toLandingFile), total: zone.file_count }
      })

      const file = Effect.fn("LandingRepository.file")(function* (key: ZoneKey, id: string) {
        const zone = yield* find(key)
        const rows = yield* sql<FileRow>`
          select ${sql.literal(fileColumns)}
          from landing_file
          where zone_id = ${zone.id} and id::text = ${id} and uploaded_at is not null`
        if (rows[0] === undefined) return yield* new LandingFileNotFound({ id, zone: `${key.namespace}/${key.name}` })
        return toLandingFile(rows[0])
      })

      /** Takes the first free name. Two uploads of one name in the same second get different ones. */
      const reserve = Effect.fn("LandingRepository.reserve")(function* (zone: LandingZone, upload: Upload) {
        const now = yield* DateTime.now
        for (let attempt = 1; attempt <= maxSameNames; attempt++) {
          const filename = storedName(upload.name, now, attempt)
          const objectKey = `${zone.namespace}/landing/${zone.name}/${filename}`
          const rows = yield* sql<{ id: string }>`
            insert into landing_file (zone_id, filename, object_key, content_type)
            values (${zone.id}, ${filename}, ${objectKey}, ${upload.contentType})
            on conflict (zone_id, filename) do nothing
            returning id`
          if (rows[0] !== undefined) return { id: rows[0].id, objectKey }
        }
        return yield* Effect.die(new Error(`${maxSameNames} uploads of one name came in one second.`))
      })

      const upload = Effect.fn("LandingRepository.upload")(function* (key: ZoneKey, sent: Upload) {
        const zone = yield* find(key)
        // Reservations of uploads that a crash ended; no upload takes an hour.
        yield* sql`
          delete from landing_file
          where zone_id = ${zone.id} and uploaded_at is null and reserved_at < now() - interval '1 hour'`
        const { id, objectKey } = yield* reserve(zone, sent)
        const release = sql`delete from landing_file where id = ${id}`.pipe(Effect.ignore)
        yield* objects.putFile(objectKey, sent.localPath).pipe(Effect.onError(() => release))
        const rows = yield* sql<FileRow>`
          with shown as (
            update landing_file
            set size_bytes = ${sent.sizeBytes}, uploaded_at = now()
            where id = ${id}
            returning ${sql.literal(fileColumns)}
          ),
          announced as (
            insert into outbox (key, type, namespace, payload)
            select object_key, 'landing.uploaded', ${key.namespace},
              jsonb_build_object('zone', ${key.name}::text, 'file_id', id, 'filename', filename, 'size_bytes', size_bytes)
            from shown
          )
          select ${sql.literal(fileColumns)} from shown`
        yield* outbox.wake
        // The zone was deleted while the bytes were on their way.
        if (rows[0] === undefined) {
          yield* objects.remove([objectKey])
          return yield* new ZoneNotFound(key)
        }
        return toLandingFile(rows[0])
      })

      const removeFile = Effect.fn("LandingRepository.removeFile")(function* (key: ZoneKey, id: string) {
        const found = yield* file(key, id)
        yield* sql`delete from landing_file where id = ${found.id}`
        yield* outbox.wake
        yield* objects.remove([found.s3_path])
      })

      const under = Effect.fn("LandingRepository.under")(function* (prefix: string) {
        const rows = yield* sql<FileRow>`
          select ${sql.literal(fileColumns)}
          from landing_file
          where uploaded_at is not null
            and object_key >= ${prefix} and object_key < ${`${prefix}\u{10FFFF}`}
          order by object_key`
        return rows.map(toLandingFile)
      })

      const byKey = Effect.fn("LandingRepository.byKey")(function* (objectKey: string) {
        const rows = yield* sql<FileRow>`
          select ${sql.literal(fileColumns)}
          from landing_file
          where object_key = ${objectKey} and uploaded_at is not null`
        return rows[0] === undefined ? null : toLandingFile(rows[0])
      })

      const listing = Effect.fn("LandingRepository.listing")(function* ({ namespace, name }: ZoneKey) {
        const rows = yield* sql<{
          zone_id: string
          id: string | null
          filename: string
          object_key: string
          size_bytes: bigint
        }>`
          select z.id as zone_id, f.id, f.filename, f.object_key, f.size_bytes
          from landing_zone as z
          left join landing_file as f on f.zone_id = z.id and f.uploaded_at is not null
          where z.namespace = ${namespace} and z.name = ${name}
          order by f.uploaded_at, f.id`
        if (rows.length === 0) return null
        return new ZoneListing({
          zone: name,
          files: rows.flatMap((row) =>
            row.id === null
              ? []
              : [{ id: row.id, filename: row.filename, key: row.object_key, size_bytes: Number(row.size_bytes) }],
          ),
        })
      })

      return LandingRepository.of({
        create,
        ensure,
        find,
        list,
        update,
        remove,
        files,
        file,
        upload,
        removeFile,
        byKey,
        under,
        listing,
      })
    }),
  )
}
