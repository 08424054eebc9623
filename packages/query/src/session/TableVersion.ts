import { defaultNamespace, didYouMean, QueryInvalid, type QueryRequest, RefName, type TableKey } from "@rat/domain"
import { Catalog, IcebergTable, snapshotAt, type TablePointer } from "@rat/lakehouse"
import { Effect, Schema } from "effect"
import type { TableName } from "./TableNames.ts"

/** A table's metadata file, and the snapshot in it that is meant; undefined: its current one. */
export interface TableVersion {
  readonly metadataLocation: string
  readonly snapshotId?: bigint
}

const decodeRef = Schema.decodeUnknownOption(RefName)

/** Refs that are looked through for a name that is nearly the wanted one. */
const searchedRefs = 200

/** A key as the person would write it. */
export const shownKey = (request: QueryRequest, key: TableKey): string =>
  key.namespace === (request.namespace ?? defaultNamespace) ? `${key.layer}.${key.name}` : String(key)

/**
 * Which state of a table a name means: on the query's ref, or on a branch, tag, snapshot or at a time that the text asks for.
 * Null when there is no such table; `QueryInvalid` says which state is missing and what there is.
 */
export const versionOf = Effect.fnUntraced(function* (
  request: QueryRequest,
  key: TableKey,
  { travel }: TableName,
  current: TablePointer | null,
) {
  if (travel === null) return current === null ? null : ({ metadataLocation: current.metadataLocation } as TableVersion)
  const table = shownKey(request, key)
  if (travel.kind === "problem") {
    if (current === null) return null
    return yield* new QueryInvalid({ reason: `${table}: ${travel.reason}` })
  }
  if (travel.kind === "ref") {
    const onRef = yield* pointerOnRef(travel.name, key)
    if (onRef !== undefined) {
      if (onRef !== null) return { metadataLocation: onRef.metadataLocation } as TableVersion
      return yield* new QueryInvalid({ reason: `There is no table ${table} on "${travel.name}".` })
    }
  }
  if (current === null) return null
  const tables = yield* IcebergTable
  const metadata = yield* tables.load(current.metadataLocation)
  const found = snapshotAt(metadata, travel)
  if ("snapshotId" in found) {
    return { metadataLocation: current.metadataLocation, snapshotId: found.snapshotId } as TableVersion
  }
  if (travel.kind !== "ref") return yield* new QueryInvalid({ reason: `Table ${table} ${found.problem}` })
  const catalog = yield* Catalog
  const refs = (yield* catalog.refs({ limit: searchedRefs })).map(({ name }) => String(name))
  const names = [...refs, ...Object.keys(metadata.refs)]
  return yield* new QueryInvalid({
    reason: `There is no branch or tag "${travel.name}", neither of the catalog nor of table ${table}.${didYouMean(travel.name, names)}`,
  })
})

/** Undefined when the catalog has no such ref, null when the ref has no such table. */
const pointerOnRef = Effect.fnUntraced(function* (name: string, key: TableKey) {
  const ref = decodeRef(name)
  if (ref._tag === "None") return undefined
  const catalog = yield* Catalog
  return yield* catalog.table(ref.value, key).pipe(Effect.catchTag("RefNotFound", () => Effect.succeed(undefined)))
})
