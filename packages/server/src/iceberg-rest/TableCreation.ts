import { randomUUID } from "node:crypto"
import {
  applyUpdates,
  encodeMetadata,
  IcebergTable,
  type MetadataUpdate,
  ObjectStore,
  parseLosslessJson,
  SchemaCodec,
  SortOrderCodec,
} from "@rat/lakehouse"
import { Clock, Effect, Schema } from "effect"
import { freshIds } from "./FreshIds.ts"
import type { Namespaces } from "./Namespaces.ts"
import type { RefScope } from "./RefScope.ts"
import { bodyAs, jsonAnswer, type RestCall } from "./RestCall.ts"
import { refuse } from "./RestFailure.ts"
import { namespaceParts, newTable } from "./RestName.ts"
import type { TableCommitter } from "./TableCommitter.ts"
import type { TablePointers } from "./TablePointers.ts"
import { checkNewLocation, isInStore, newLocation, propertiesProblem } from "./TableRules.ts"
import { WireSpec } from "./TableUpdateJson.ts"
import type { ViewRepository } from "./ViewRepository.ts"

const createBody = bodyAs(
  Schema.Struct({
    name: Schema.String,
    location: Schema.optionalKey(Schema.NullOr(Schema.String)),
    schema: SchemaCodec,
    "partition-spec": Schema.optionalKey(Schema.NullOr(WireSpec)),
    "write-order": Schema.optionalKey(Schema.NullOr(SortOrderCodec)),
    "stage-create": Schema.optionalKey(Schema.NullOr(Schema.Boolean)),
    properties: Schema.optionalKey(Schema.NullOr(Schema.Record(Schema.String, Schema.String))),
  }),
  "request for a table",
)

const registerBody = bodyAs(
  Schema.Struct({
    name: Schema.String,
    "metadata-location": Schema.String,
    overwrite: Schema.optionalKey(Schema.NullOr(Schema.Boolean)),
  }),
  "request to register a table",
)

/** Tables that come into being: made, staged for a commit that makes them, or registered. */
export const makeTableCreation = Effect.fnUntraced(function* (rooms: {
  readonly refs: RefScope
  readonly namespaces: Namespaces
  readonly committer: TableCommitter
  readonly views: ViewRepository
  readonly pointers: TablePointers
}) {
  const { committer, namespaces, pointers, refs, views } = rooms
  const { change, find, refuseExisting, showing } = pointers
  const tables = yield* IcebergTable
  const store = yield* ObjectStore

  const updatesOf = (
    body: Effect.Success<ReturnType<typeof createBody>>,
    location: string,
    uuid: string,
  ): ReadonlyArray<MetadataUpdate> => {
    const { "format-version": version, ...properties } = body.properties ?? {}
    const fresh = freshIds(body.schema, body["partition-spec"] ?? null, body["write-order"] ?? null)
    return [
      { action: "assign-uuid", uuid },
      ...(version === undefined
        ? []
        : [{ action: "upgrade-format-version", formatVersion: Number(version) } satisfies MetadataUpdate]),
      { action: "add-schema", schema: fresh.schema },
      { action: "set-current-schema", schemaId: -1 },
      ...(fresh.spec === null
        ? []
        : ([
            { action: "add-spec", spec: fresh.spec },
            { action: "set-default-spec", specId: -1 },
          ] satisfies ReadonlyArray<MetadataUpdate>)),
      ...(fresh.order === null
        ? []
        : ([
            { action: "add-sort-order", sortOrder: fresh.order },
            { action: "set-default-sort-order", sortOrderId: -1 },
          ] satisfies ReadonlyArray<MetadataUpdate>)),
      { action: "set-location", location },
      { action: "set-properties", updates: properties },
    ]
  }

  const create = Effect.fnUntraced(function* (call: RestCall, access: ReadonlyArray<string>) {
    const body = yield* createBody(call.body)
    const parts = namespaceParts(call.names.namespace!)
    const key = yield* Effect.fromResult(newTable(parts, body.name))
    yield* refs.writable(call.ref)
    yield* namespaces.required(parts)
    const uuid = randomUUID()
    const location =
      body.location === undefined || body.location === null
        ? newLocation(store, key, uuid)
        : yield* Effect.fromResult(checkNewLocation(store, key, body.location))
    const version = body.properties?.["format-version"]
    if (version !== undefined && version !== "2" && version !== "3") {
      return yield* refuse(
        "BadRequestException",
        `format-version is "${version.slice(0, 20)}"; tables are made with 2 or 3.`,
      )
    }
    const problem = propertiesProblem(store, location, body.properties ?? {})
    if (problem !== null) return yield* problem
    yield* refuseExisting(call, key)
    yield* views.refuseTaken(key)
    const updates = updatesOf(body, location, uuid)
    if (body["stage-create"] === true) {
      // Some engines write files before the commit that makes the table, and make no folders for them.
      for (const folder of ["metadata", "data"]) yield* store.prepare(store.keyOf(`${location}/${folder}`))
      const staged = yield* stage(updates, location, uuid)
      return jsonAnswer({ "metadata-location": null, metadata: staged, config: {} })
    }
    const made = yield* tables
      .commit({ base: null, location, runId: uuid, updates, snapshot: null })
      .pipe(Effect.catchTag("UpdateRefused", (refused) => Effect.fail(refuse("BadRequestException", refused.message))))
    return yield* change(
      call,
      Effect.as(refuseExisting(call, key), {
        changes: [
          {
            key,
            expected: null,
            next: yield* pointers.to(made),
            message: `create ${key}`,
            rowsAdded: null,
          },
        ],
        answer: showing(call, key, made.metadataLocation, access),
        created: key,
      }),
    )
  })

  /** Metadata that a staged create would begin with; nothing is kept of it. */
  const stage = Effect.fnUntraced(function* (updates: ReadonlyArray<MetadataUpdate>, location: string, uuid: string) {
    const context = { nowMs: yield* Clock.currentTimeMillis, location, uuid, previousLocation: null }
    const metadata = yield* Effect.mapError(Effect.fromResult(applyUpdates(null, updates, context)), (refused) =>
      refuse("BadRequestException", refused.message),
    )
    return parseLosslessJson(Buffer.from(encodeMetadata(metadata)).toString("utf8"))
  })

  const register = Effect.fnUntraced(function* (call: RestCall, access: ReadonlyArray<string>) {
    const body = yield* registerBody(call.body)
    const parts = namespaceParts(call.names.namespace!)
    const key = yield* Effect.fromResult(newTable(parts, body.name))
    yield* refs.writable(call.ref)
    yield* namespaces.required(parts)
    const location = body["metadata-location"]
    if (!isInStore(store, location)) {
      return yield* refuse(
        "BadRequestException",
        `"${location}" does not lie in this server's object store (${store.root}). Copy the table into it first.`,
      )
    }
    const metadata = yield* Effect.catchTag(tables.load(location), ["ObjectNotFound", "TableCorrupt"], (error) =>
      Effect.fail(refuse("BadRequestException", `The table cannot be registered: ${error.message}`)),
    )
    if (!isInStore(store, `${metadata.location}/metadata`)) {
      return yield* refuse(
        "BadRequestException",
        `The table lies in ${metadata.location}, outside of this server's object store. Copy it into ${store.root} first.`,
      )
    }
    return yield* change(
      call,
      Effect.gen(function* () {
        const there = yield* find(call.ref, key)
        if (there !== null && body.overwrite !== true) {
          return yield* refuse("AlreadyExistsException", `Table "${key}" already exists on ${call.ref}.`)
        }
        const kept = yield* guarded(location, metadata)
        return {
          changes: [
            {
              key,
              expected: there?.metadataLocation ?? null,
              next: yield* pointers.to(kept),
              message: `register ${key}`,
              rowsAdded: null,
            },
          ],
          answer: showing(call, key, kept.metadataLocation, access),
          created: key,
        }
      }),
    )
  })

  /** Tables of elsewhere may allow everybody to delete files; here that would take them from other branches. */
  const guarded = (metadataLocation: string, metadata: Effect.Success<ReturnType<typeof tables.load>>) =>
    metadata.properties["gc.enabled"] === "false"
      ? Effect.succeed({ metadataLocation, metadata })
      : tables
          .commit({
            base: { metadataLocation, metadata },
            location: metadata.location,
            runId: committer.newId(),
            updates: [{ action: "set-properties", updates: { "gc.enabled": "false" } }],
            snapshot: null,
          })
          .pipe(
            Effect.catchTag("UpdateRefused", (refused) => Effect.fail(refuse("BadRequestException", refused.message))),
          )

  return { create, register }
})
