import type { TableKey } from "@rat/domain"
import {
  Catalog,
  IcebergTable,
  isObjectKey,
  makeS3Signer,
  ObjectStore,
  type S3Signer,
  StoreConfig,
} from "@rat/lakehouse"
import { Context, Effect, Layer, Schema } from "effect"
import type { RefScope } from "./RefScope.ts"
import { bodyAs, jsonAnswer, type RestCall } from "./RestCall.ts"
import { type RestFailure, refuse } from "./RestFailure.ts"
import { knownTable, namespaceParts } from "./RestName.ts"
import { type SignWish, signWish } from "./SignWish.ts"

const signBody = bodyAs(
  Schema.Struct({
    region: Schema.String,
    uri: Schema.String,
    method: Schema.String,
    headers: Schema.Record(Schema.String, Schema.Array(Schema.String)),
    provider: Schema.optionalKey(Schema.NullOr(Schema.String)),
  }),
  "request to be signed",
)

/** The signer of the node's object store; null when objects are files. */
export class StoreSigner extends Context.Service<StoreSigner, S3Signer | null>()(
  "rat/server/iceberg-rest/StoreSigner",
) {
  static readonly layer = (options: { readonly dataFolder: string }) =>
    Layer.effect(
      StoreSigner,
      Effect.gen(function* () {
        const settings = yield* StoreConfig.s3FromConfig(options)
        return StoreSigner.of(settings === null ? (null as never) : yield* makeS3Signer(settings))
      }),
    )
}

/**
 * Signs a client's requests to the object store, one at a time, each for one object of one table (REST catalog, `signRequest`). The
 * client never holds credentials. Refused is whatever leaves the table's folder, removes an object, replaces one, or changes
 * more than an object's bytes.
 */
export const makeRemoteSigning = Effect.fnUntraced(function* (refs: RefScope) {
  const signer = yield* StoreSigner
  const catalog = yield* Catalog
  const tables = yield* IcebergTable
  const store = yield* ObjectStore

  /** The folders that a table's client may use: the table's own, or those of creates that are still staged. */
  const folderTest = Effect.fnUntraced(function* (call: RestCall, key: TableKey) {
    const pointer = yield* catalog.table(call.ref, key)
    if (pointer !== null) {
      const { location } = yield* tables.load(pointer.metadataLocation)
      const folder = `${store.keyOf(`${location}/`)}`
      return (objectKey: string) => objectKey.startsWith(folder)
    }
    const staged = `${key.namespace}/${key.layer}/${key.name}-`
    return (objectKey: string) => objectKey.startsWith(staged) && /^[0-9a-f]{12}\//.test(objectKey.slice(staged.length))
  })

  const refuseWish = (reason: string): Effect.Effect<never, RestFailure> =>
    Effect.fail(refuse("ForbiddenException", `The request is not signed: ${reason}.`))

  /** Objects are written once: a writer's names are new, and the metadata files are this server's. */
  const checkWrite = Effect.fnUntraced(function* (wish: SignWish) {
    if (wish.key.endsWith(".metadata.json")) return yield* refuseWish("metadata files are written by this server only")
    if (wish.kind === "part") return
    const isThere = yield* store.head(wish.key).pipe(
      Effect.as(true),
      Effect.catchTag("ObjectNotFound", () => Effect.succeed(false)),
    )
    if (isThere) return yield* refuseWish(`${wish.key} exists already and objects are never replaced`)
  })

  const sign = Effect.fnUntraced(function* (call: RestCall) {
    const body = yield* signBody(call.body)
    const key = yield* Effect.fromResult(knownTable(namespaceParts(call.names.namespace!), call.names.table!))
    if (signer === null || (body.provider ?? "s3") !== "s3") {
      return yield* refuse(
        "UnsupportedOperationException",
        "This server keeps its objects in files, which need no signature. Read them where the server runs, or use S3.",
      )
    }
    const wish = yield* Effect.fromResult(signWish(signer, body))
    const isInTable = yield* folderTest(call, key)
    if (wish.kind === "list" ? !isInTable(`${wish.key}`) : !isObjectKey(wish.key) || !isInTable(wish.key)) {
      return yield* refuseWish(`"${wish.key}" does not lie in the folder of table "${key}"`)
    }
    if (wish.copySource !== null && (!isObjectKey(wish.copySource) || !isInTable(wish.copySource))) {
      return yield* refuseWish(`"${wish.copySource}" does not lie in the folder of table "${key}"`)
    }
    if (wish.kind !== "read" && wish.kind !== "list") {
      yield* refs.writable(call.ref)
      yield* checkWrite(wish)
    } else yield* refs.exists(call.ref)
    const headers = yield* Effect.mapError(signer.sign(wish), (error) =>
      refuse("SlowDownException", `The request could not be signed: ${error.message}`),
    )
    return jsonAnswer({
      uri: wish.url.href,
      headers: Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, [value]])),
    })
  })

  return { sign }
})
