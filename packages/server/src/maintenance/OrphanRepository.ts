import type { ObjectInfo, OrphanLedger } from "@rat/lakehouse"
import { Context, Effect, Layer, Option, Stream } from "effect"
import { SecureRandom } from "effect/crypto"
import { SqlClient, type SqlError } from "effect/sql"
import { toJsonb } from "../sql/Jsonb.ts"

type Sql = SqlError.SqlError

/**
 * Metadata files asked for at once: in one statement, as far as memory allows, because one statement sees one moment. Between two a
 * branch could move to a version behind the page, and its files would count as unreachable until the next sweep.
 */
const rootPage = 1_000_000

/** The run that a file's name begins with: `<run id>-…` (data and metadata), `00012-<run id>-…` (metadata files). */
const runIdIn = /^(?:\d{5,}-|snap-\d+-)?([0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12})/

const rowsOf = (objects: ReadonlyArray<ObjectInfo>) =>
  toJsonb(objects.map(({ key, modified, sizeBytes }) => ({ key, size_bytes: sizeBytes, modified })))

/**
 * The only writer of table `maintenance_orphan`: since when nothing has pointed to an object. Reads who may need objects that
 * no table does: landing zones, runs and maintenance at work.
 */
export class OrphanRepository extends Context.Service<
  OrphanRepository,
  {
    /** The ledger of a new sweep; sweeps follow one another. */
    readonly ledger: Effect.Effect<OrphanLedger<Sql>>
    /** Those of the objects that a landing zone holds, or that a run or maintenance at work wrote. */
    readonly needed: (objects: ReadonlyArray<ObjectInfo>) => Effect.Effect<ReadonlySet<string>, Sql>
    /** Metadata files of all tables on all refs, and of versions of main that can be restored. */
    readonly roots: Stream.Stream<string, Sql>
    /** Metadata files of views. */
    readonly views: Stream.Stream<string, Sql>
  }
>()("rat/server/maintenance/OrphanRepository") {
  static readonly layer = Layer.effect(
    OrphanRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient

      const ledger = Effect.sync((): OrphanLedger<Sql> => {
        const sweep = SecureRandom.uuidV7Unsafe()
        const keysOf = (rows: ReadonlyArray<{ readonly key: string }>) => new Set(rows.map(({ key }) => key))
        return {
          note: Effect.fn("OrphanRepository.note")(function* (objects, dueBefore) {
            const rows = yield* sql<{ readonly key: string; readonly is_due: boolean }>`
              insert into maintenance_orphan as o (key, size_bytes, modified, first_seen, sweep)
              select key, size_bytes, modified, now(), ${sweep}::uuid
              from jsonb_to_recordset(${rowsOf(objects)}::jsonb) as i (key text, size_bytes bigint, modified timestamptz)
              order by key
              on conflict (key) do update
              set size_bytes = excluded.size_bytes,
                  modified = excluded.modified,
                  first_seen = case
                    when o.size_bytes = excluded.size_bytes and o.modified = excluded.modified then o.first_seen
                    else excluded.first_seen
                  end,
                  sweep = excluded.sweep
              returning key, first_seen < ${dueBefore} as is_due`
            return keysOf(rows.filter(({ is_due }) => is_due))
          }),
          look: Effect.fn("OrphanRepository.look")(function* (objects, dueBefore) {
            return keysOf(
              yield* sql<{ readonly key: string }>`
                select o.key
                from jsonb_to_recordset(${rowsOf(objects)}::jsonb) as i (key text, size_bytes bigint, modified timestamptz)
                join maintenance_orphan o on o.key = i.key and o.size_bytes = i.size_bytes and o.modified = i.modified
                where o.first_seen < ${dueBefore}`,
            )
          }),
          forget: Effect.fn("OrphanRepository.forget")(function* (keys) {
            yield* sql`
              delete from maintenance_orphan
              where key in (select jsonb_array_elements_text(${toJsonb(keys)}::jsonb))`
          }),
          finish: Effect.asVoid(sql`delete from maintenance_orphan where sweep <> ${sweep}::uuid`),
        }
      })

      const needed = Effect.fn("OrphanRepository.needed")(function* (objects: ReadonlyArray<ObjectInfo>) {
        const names = objects.map(({ key }) => ({
          key,
          run_id: runIdIn.exec(key.slice(key.lastIndexOf("/") + 1))?.[1] ?? null,
        }))
        const rows = yield* sql<{ readonly key: string }>`
          select i.key
          from jsonb_to_recordset(${toJsonb(names)}::jsonb) as i (key text, run_id uuid)
          where exists (select from landing_file f where f.object_key = i.key)
            or exists (select from run r where r.id = i.run_id and r.finished_at is null)
            or exists (select from maintenance_run m where m.id = i.run_id and m.finished_at is null)`
        return new Set(rows.map(({ key }) => key))
      })

      const rootsAfter = (after: string) => sql<{ readonly location: string }>`
        select location from catalog_reachable(${after}, ${rootPage}::integer) as location`
      const roots = Stream.paginate("", (after) =>
        Effect.map(rootsAfter(after), (rows) => {
          const locations = rows.map(({ location }) => location)
          return [locations, Option.fromUndefinedOr(rows.length < rootPage ? undefined : locations.at(-1))] as const
        }),
      )

      const views = Stream.fromIterableEffect(
        Effect.map(sql<{ readonly location: string }>`select metadata_location as location from iceberg_view`, (rows) =>
          rows.map(({ location }) => location),
        ),
      )

      return OrphanRepository.of({ ledger, needed, roots, views })
    }),
  )
}
