import { randomUUID } from "node:crypto"
import { mainRef, type TableKey } from "@rat/domain"
import { ObjectStore, parseLosslessJson, printLosslessJson, SchemaCodec } from "@rat/lakehouse"
import { Clock, Effect, Result, Schema } from "effect"
import { SqlClient } from "effect/sql"
import type { Namespaces } from "./Namespaces.ts"
import { page } from "./Page.ts"
import type { RefScope } from "./RefScope.ts"
import { bodyAs, jsonAnswer, noContent, type RestCall } from "./RestCall.ts"
import { refuse } from "./RestFailure.ts"
import { identifierOf, knownTable, missing, namespaceParts, newTable } from "./RestName.ts"
import { isInStore, newLocation } from "./TableRules.ts"
import { renameBody } from "./Tables.ts"
import {
  applyViewUpdates,
  decodeView,
  decodeViewUpdate,
  emptyView,
  encodeView,
  type ViewMetadata,
  type ViewUpdate,
  ViewVersionCodec,
} from "./ViewMetadata.ts"
import type { ViewRepository } from "./ViewRepository.ts"

const createBody = bodyAs(
  Schema.Struct({
    name: Schema.String,
    location: Schema.optionalKey(Schema.NullOr(Schema.String)),
    schema: SchemaCodec,
    "view-version": ViewVersionCodec,
    properties: Schema.optionalKey(Schema.NullOr(Schema.Record(Schema.String, Schema.String))),
  }),
  "request for a view",
)

const commitBody = bodyAs(
  Schema.Struct({
    requirements: Schema.optionalKey(Schema.NullOr(Schema.Array(Schema.Unknown))),
    updates: Schema.Array(Schema.Unknown),
  }),
  "change of a view",
)

const registerBody = bodyAs(
  Schema.Struct({ name: Schema.String, "metadata-location": Schema.String }),
  "request to register a view",
)

const maxTries = 20

/** Views: kept for engines that define them in SQL of their own. This server's queries do not read them. */
export const makeViews = Effect.fnUntraced(function* (rooms: {
  readonly refs: RefScope
  readonly namespaces: Namespaces
  readonly views: ViewRepository
}) {
  const { namespaces, refs, views } = rooms
  const store = yield* ObjectStore
  const sql = yield* SqlClient.SqlClient

  const writable = Effect.fnUntraced(function* (call: RestCall) {
    yield* refs.writable(call.ref)
    if (call.ref !== mainRef) {
      return yield* refuse(
        "ForbiddenException",
        "Views are not branched: every branch and tag shows the same. Change them without a prefix, on main.",
      )
    }
  })

  const required = Effect.fnUntraced(function* (call: RestCall) {
    yield* refs.exists(call.ref)
    const parts = namespaceParts(call.names.namespace!)
    const key = yield* Effect.fromResult(knownTable(parts, call.names.view!, "view"))
    const pointer = yield* views.find(key)
    if (pointer !== null) return pointer
    yield* namespaces.required(parts)
    return yield* missing("view", key.toString())
  })

  const read = Effect.fnUntraced(function* (location: string) {
    const bytes = yield* store.get(store.keyOf(location))
    const json = yield* Effect.try({
      try: () => parseLosslessJson(Buffer.from(bytes).toString("utf8")),
      catch: () => refuse("BadRequestException", `${location} is no complete JSON document.`),
    })
    return yield* Effect.mapError(Effect.fromResult(decodeView(json)), (error) =>
      refuse(
        "BadRequestException",
        `${location} is no metadata of a view: ${error.message.replace(/\s+/g, " ").slice(0, 300)}`,
      ),
    )
  })

  const write = Effect.fnUntraced(function* (view: ViewMetadata, version: number) {
    const name = `${String(version).padStart(5, "0")}-${randomUUID()}.metadata.json`
    const location = `${view.location}/metadata/${name}`
    yield* store
      .put(store.keyOf(location), Buffer.from(printLosslessJson(encodeView(view))))
      .pipe(Effect.catchTag("ObjectExists", Effect.die)) // not asked for
    return location
  })

  const shown = (metadataLocation: string, view: ViewMetadata) =>
    jsonAnswer({ "metadata-location": metadataLocation, metadata: encodeView(view), config: {} })

  const list = Effect.fnUntraced(function* (call: RestCall) {
    yield* refs.exists(call.ref)
    const { namespace, layer } = yield* namespaces.required(namespaceParts(call.names.namespace!))
    const found = layer === null ? [] : yield* views.list(namespace, layer)
    const { items, next } = yield* page(call.query, found, ({ key }) => key.name)
    return jsonAnswer({ "next-page-token": next, identifiers: items.map(({ key }) => identifierOf(key)) })
  })

  const insert = (key: TableKey, metadataLocation: string) =>
    sql.withTransaction(Effect.andThen(namespaces.hold(key.namespace), views.insert(key, metadataLocation)))

  const create = Effect.fnUntraced(function* (call: RestCall) {
    const body = yield* createBody(call.body)
    const parts = namespaceParts(call.names.namespace!)
    const key = yield* Effect.fromResult(newTable(parts, body.name))
    yield* writable(call)
    yield* namespaces.required(parts)
    if (body.location !== undefined && body.location !== null) {
      return yield* refuse("BadRequestException", "This server chooses where views lie. Leave `location` out.")
    }
    const uuid = randomUUID()
    const nowMs = yield* Clock.currentTimeMillis
    const updates: ReadonlyArray<ViewUpdate> = [
      { action: "set-properties", updates: body.properties ?? {} },
      { action: "add-schema", schema: body.schema },
      { action: "add-view-version", viewVersion: { ...body["view-version"], schemaId: -1 } },
      { action: "set-current-view-version", viewVersionId: -1 },
    ]
    const view = yield* Effect.fromResult(
      applyViewUpdates(emptyView(uuid, newLocation(store, key, uuid)), updates, nowMs),
    )
    const location = yield* write(view, 0)
    yield* insert(key, location)
    return shown(location, view)
  })

  const register = Effect.fnUntraced(function* (call: RestCall) {
    const body = yield* registerBody(call.body)
    const parts = namespaceParts(call.names.namespace!)
    const key = yield* Effect.fromResult(newTable(parts, body.name))
    yield* writable(call)
    yield* namespaces.required(parts)
    const location = body["metadata-location"]
    if (!isInStore(store, location)) {
      return yield* refuse(
        "BadRequestException",
        `"${location}" does not lie in this server's object store (${store.root}).`,
      )
    }
    const view = yield* Effect.catchTag(read(location), "ObjectNotFound", (error) =>
      Effect.fail(refuse("BadRequestException", `The view cannot be registered: ${error.message}`)),
    )
    if (!isInStore(store, `${view.location}/metadata`)) {
      return yield* refuse(
        "BadRequestException",
        `The view lies in ${view.location}, outside of this server's object store.`,
      )
    }
    yield* insert(key, location)
    return shown(location, view)
  })

  const load = Effect.fnUntraced(function* (call: RestCall) {
    const { metadataLocation } = yield* required(call)
    return shown(metadataLocation, yield* read(metadataLocation))
  })

  const checkRequirements = Effect.fnUntraced(function* (view: ViewMetadata, requirements: ReadonlyArray<unknown>) {
    for (const each of requirements) {
      const { type, uuid } = (each ?? {}) as { readonly type?: unknown; readonly uuid?: unknown }
      if (type !== "assert-view-uuid" || typeof uuid !== "string") {
        return yield* refuse(
          "BadRequestException",
          `The requirement ${printLosslessJson(type ?? null)} is unknown for views.`,
        )
      }
      if (uuid !== view.viewUuid) {
        return yield* refuse(
          "CommitFailedException",
          `The view's uuid is ${view.viewUuid}, the commit expects ${uuid}.`,
        )
      }
    }
  })

  const replace = Effect.fnUntraced(function* (call: RestCall) {
    const body = yield* commitBody(call.body)
    yield* writable(call)
    const updates = yield* Effect.fromResult(Result.all(body.updates.map(decodeViewUpdate)))
    for (let tries = 0; tries < maxTries; tries++) {
      const { key, metadataLocation } = yield* required(call)
      const before = yield* read(metadataLocation)
      yield* checkRequirements(before, body.requirements ?? [])
      const view = yield* Effect.fromResult(applyViewUpdates(before, updates, yield* Clock.currentTimeMillis))
      const version = Number(/\/(\d+)-[^/]*$/.exec(metadataLocation)?.[1] ?? 0) + 1
      const location = yield* write(view, version)
      if (yield* views.replace(key, metadataLocation, location)) return shown(location, view)
    }
    return yield* refuse("CommitFailedException", "The view keeps changing. Nothing was changed; try again.")
  })

  const drop = Effect.fnUntraced(function* (call: RestCall) {
    yield* writable(call)
    const { key } = yield* required(call)
    if (!(yield* views.remove(key))) return yield* missing("view", key.toString())
    return noContent
  })

  const rename = Effect.fnUntraced(function* (call: RestCall) {
    const { destination, source } = yield* renameBody(call.body)
    yield* writable(call)
    const from = yield* Effect.fromResult(knownTable(source.namespace, source.name, "view"))
    const to = yield* Effect.fromResult(newTable(destination.namespace, destination.name))
    yield* sql.withTransaction(
      Effect.gen(function* () {
        const pointer = yield* views.find(from)
        if (pointer === null) return yield* missing("view", from.toString())
        yield* namespaces.hold(to.namespace)
        yield* views.insert(to, pointer.metadataLocation)
        if (!(yield* views.remove(from))) return yield* missing("view", from.toString())
      }),
    )
    return noContent
  })

  return {
    list,
    create,
    register,
    load,
    exists: (call: RestCall) => Effect.as(required(call), noContent),
    replace,
    drop,
    rename,
  }
})
