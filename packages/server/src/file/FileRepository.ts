import { createHash } from "node:crypto"
import {
  blobKey,
  ContentHash,
  FileInfo,
  FileNotFound,
  type FilePath,
  fileTypeOf,
  NamespaceNotFound,
  type Queueing,
} from "@rat/domain"
import { type ObjectNotFound, ObjectStore, type StoreUnavailable } from "@rat/lakehouse"
import { Context, DateTime, Effect, Layer } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { Outbox } from "../event/Outbox.ts"
import { toJsonb } from "../sql/Jsonb.ts"

/** A file's row: where its bytes are and how many. */
export interface StoredFile {
  readonly path: string
  readonly hash: ContentHash
  readonly sizeBytes: number
  readonly modified: DateTime.Utc
}

/** Bytes that are durable in the blob store and wait for their row. */
export interface Blob {
  readonly path: FilePath
  readonly hash: ContentHash
  readonly sizeBytes: number
  /** What the file says of how its pipeline's runs queue; submissions read it from the row. */
  readonly queueing?: Queueing | undefined
}

type Sql = SqlError.SqlError

/**
 * The only writer of table `file`: paths people edit -> content-addressed blobs in the object store. Invariant: a row's
 * blob is durable before the row is visible. Blobs are immutable and shared; removing a path leaves its blob, because
 * versions and runs may point to it. Methods that touch rows only join a surrounding transaction.
 */
export class FileRepository extends Context.Service<
  FileRepository,
  {
    /** Stores bytes under their hash. No row changes: follow with `link`, in a transaction if you like. */
    readonly store: (path: FilePath, bytes: Uint8Array) => Effect.Effect<Blob, StoreUnavailable>
    /**
     * Makes paths point to stored blobs and appends `file.written` for those that changed; the others keep their
     * `modified`. Answers with the rows. Paths must differ from one another.
     */
    readonly link: (blobs: ReadonlyArray<Blob>) => Effect.Effect<ReadonlyArray<StoredFile>, NamespaceNotFound | Sql>
    /** `store`, then `link`. */
    readonly write: (
      path: FilePath,
      bytes: Uint8Array,
      queueing?: Queueing,
    ) => Effect.Effect<StoredFile, NamespaceNotFound | StoreUnavailable | Sql>
    readonly find: (path: FilePath) => Effect.Effect<StoredFile, FileNotFound | Sql>
    readonly read: (
      path: FilePath,
    ) => Effect.Effect<
      { readonly file: StoredFile; readonly bytes: Uint8Array },
      FileNotFound | ObjectNotFound | StoreUnavailable | Sql
    >
    /** Immutable content by hash. */
    readonly blob: (hash: ContentHash) => Effect.Effect<Uint8Array, ObjectNotFound | StoreUnavailable>
    /** Files below a prefix (a folder with its trailing slash, or any start of a path), in path order. */
    readonly list: (prefix: string) => Effect.Effect<ReadonlyArray<StoredFile>, Sql>
    /** Removes rows and appends `file.deleted`; missing paths are no error. Answers with the paths that were there. */
    readonly remove: (paths: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>, Sql>
  }
>()("rat/server/file/FileRepository") {
  static readonly layer = Layer.effect(
    FileRepository,
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const objects = yield* ObjectStore
      const outbox = yield* Outbox

      const store = Effect.fn("FileRepository.store")(function* (path: FilePath, bytes: Uint8Array) {
        const hash = hashOf(bytes)
        yield* objects
          .put(blobKey(hash), bytes, { ifAbsent: true })
          .pipe(Effect.catchTag("ObjectExists", () => Effect.void))
        return { path, hash, sizeBytes: bytes.byteLength }
      })

      const link = Effect.fn("FileRepository.link")(function* (blobs: ReadonlyArray<Blob>) {
        if (blobs.length === 0) return []
        const incoming = toJsonb(
          blobs.map(({ path, hash, sizeBytes, queueing = {} }) => ({ path, hash, size_bytes: sizeBytes, queueing })),
        )
        const rows = yield* sql<FileRow>`
          with incoming as (
            select b.path, n.name as namespace, b.hash, b.size_bytes, nullif(b.queueing, '{}') as queueing
            from jsonb_to_recordset(${incoming}::jsonb) as b (path text, hash text, size_bytes bigint, queueing jsonb)
            join namespace as n on n.name = split_part(b.path, '/', 1)
          ),
          linked as (
            insert into file as f (path, namespace, hash, size_bytes, modified, queueing)
            select path, namespace, hash, size_bytes, now(), queueing
            from incoming
            on conflict (path) do update
            set hash = excluded.hash, size_bytes = excluded.size_bytes, modified = excluded.modified,
                queueing = excluded.queueing
            where f.hash <> excluded.hash
            returning path, namespace, hash, size_bytes, modified
          ),
          announced as (
            insert into outbox (key, type, namespace, payload)
            select path, 'file.written', namespace, jsonb_build_object('path', path, 'hash', hash)
            from linked
            order by path
          )
          select path, hash, size_bytes, modified from linked
          union all
          select f.path, f.hash, f.size_bytes, f.modified
          from incoming as i
          join file as f on f.path = i.path and f.hash = i.hash
          order by path`
        if (rows.length < blobs.length) {
          const found = new Set(rows.map((row) => row.path))
          const missing = blobs.find((blob) => !found.has(blob.path)) ?? blobs[0]!
          return yield* new NamespaceNotFound({ namespace: missing.path.split("/")[0] ?? "" })
        }
        yield* outbox.wake
        return rows.map(storedFile)
      })

      const find = Effect.fn("FileRepository.find")(function* (path: FilePath) {
        const rows = yield* sql<FileRow>`
          select path, hash, size_bytes, modified
          from file
          where path = ${path}`
        if (rows[0] === undefined) return yield* new FileNotFound({ path })
        return storedFile(rows[0])
      })

      const blob = (hash: ContentHash) => objects.get(blobKey(hash))

      const list = Effect.fn("FileRepository.list")(function* (prefix: string) {
        // `starts_with` would not use the index; the upper bound is the prefix with the largest code point behind it.
        const rows = yield* sql<FileRow>`
          select path, hash, size_bytes, modified
          from file
          where path >= ${prefix} and path < ${`${prefix}\u{10FFFF}`}
          order by path`
        return rows.map(storedFile)
      })

      return FileRepository.of({
        store,
        link,
        write: (path, bytes, queueing) =>
          store(path, bytes).pipe(
            Effect.flatMap((stored) => link([{ ...stored, queueing }])),
            Effect.map((rows) => rows[0]!),
          ),
        find,
        read: (path) =>
          find(path).pipe(Effect.flatMap((file) => Effect.map(blob(file.hash), (bytes) => ({ file, bytes })))),
        blob,
        list,
        remove: Effect.fn("FileRepository.remove")(function* (paths: ReadonlyArray<string>) {
          if (paths.length === 0) return []
          const rows = yield* sql<{ path: string }>`
            with removed as (
              delete from file
              where ${sql.in("path", paths)}
              returning path, namespace
            ),
            announced as (
              insert into outbox (key, type, namespace, payload)
              select path, 'file.deleted', namespace, jsonb_build_object('path', path)
              from removed
              order by path
            )
            select path from removed`
          yield* outbox.wake
          return rows.map((row) => row.path)
        }),
      })
    }),
  )
}

interface FileRow {
  readonly path: string
  readonly hash: string
  readonly size_bytes: bigint
  readonly modified: Date
}

const storedFile = (row: FileRow): StoredFile => ({
  path: row.path,
  hash: ContentHash.make(row.hash),
  sizeBytes: Number(row.size_bytes),
  modified: DateTime.fromDateUnsafe(row.modified),
})

/** Lower-case hex SHA-256 of bytes. */
export const hashOf = (bytes: Uint8Array): ContentHash =>
  ContentHash.make(createHash("sha256").update(bytes).digest("hex"))

/** A stored file as the files API lists it. */
export const fileInfo = (file: StoredFile): FileInfo =>
  new FileInfo({
    path: file.path,
    size: file.sizeBytes,
    modified: file.modified,
    type: fileTypeOf(file.path),
    version_id: file.hash,
  })
