import { Context, type Effect, Schema, type Stream } from "effect"
import type { CircuitState } from "../outbound/Circuit.ts"

export class ObjectNotFound extends Schema.TaggedError<ObjectNotFound>()("ObjectNotFound", { key: Schema.String }) {
  override get message() {
    return `Object "${this.key}" does not exist in the object store.`
  }
}

/** `put` with `ifAbsent` found that the object is already there. */
export class ObjectExists extends Schema.TaggedError<ObjectExists>()("ObjectExists", { key: Schema.String }) {
  override get message() {
    return `Object "${this.key}" already exists in the object store.`
  }
}

/** The store did not answer, answered with a server error, or has no room. `reason` says which, without secrets. */
export class StoreUnavailable extends Schema.TaggedError<StoreUnavailable>()("StoreUnavailable", {
  key: Schema.String,
  reason: Schema.String,
  /** The store is at fault and may come back by itself, so that waiting makes sense; not with a full disk or a wrong password. */
  isOutage: Schema.optional(Schema.Boolean),
  cause: Schema.optional(Schema.Defect()),
}) {
  override get message() {
    return `The object store could not be used for "${this.key}": ${this.reason}`
  }
}

export interface ObjectInfo {
  readonly key: string
  readonly sizeBytes: number
  readonly modified: Date
}

/**
 * Immutable-friendly storage of bytes under keys (`a/b/c`, no leading slash). A reader never sees half an object: an
 * object is there whole or not at all. Every call has a deadline (10 s metadata, 60 s data), a bounded jittered retry
 * of what can heal and one circuit breaker per endpoint around both.
 */
export class ObjectStore extends Context.Service<
  ObjectStore,
  {
    readonly kind: "file" | "s3"
    /** Prefix of every location, with a trailing slash: `file:///data/store/` or `s3://bucket/`. */
    readonly root: string
    /** Absolute URI of a key, as Iceberg metadata stores it. */
    readonly locationOf: (key: string) => string
    /** Key of a location below `root`; dies on a foreign one. */
    readonly keyOf: (location: string) => string
    readonly get: (key: string) => Effect.Effect<Uint8Array, ObjectNotFound | StoreUnavailable>
    readonly head: (key: string) => Effect.Effect<ObjectInfo, ObjectNotFound | StoreUnavailable>
    /** Durable when it returns. With `ifAbsent` an existing object is left alone and the call fails. */
    readonly put: (
      key: string,
      bytes: Uint8Array,
      options?: { readonly ifAbsent?: boolean },
    ) => Effect.Effect<void, ObjectExists | StoreUnavailable>
    /**
     * Stores a local file and takes it over: the file store links or renames it where it can (no copy), S3 uploads it
     * (multipart when large). Durable when it returns; the local file may be gone afterwards.
     */
    readonly putFile: (key: string, localPath: string) => Effect.Effect<void, StoreUnavailable>
    /** Everything below a prefix, in key order. */
    /**
     * Makes the folder of keys that begin with `<folder>/`, where the store has folders: some engines write to a location only when
     * its folder is there. Nothing to do elsewhere.
     */
    readonly prepare: (folder: string) => Effect.Effect<void, StoreUnavailable>
    readonly list: (prefix: string) => Stream.Stream<ObjectInfo, StoreUnavailable>
    /** Missing keys are no error. */
    readonly remove: (keys: ReadonlyArray<string>) => Effect.Effect<void, StoreUnavailable>
    /**
     * A local, read-only file with the bytes of an immutable object: the object itself for the file store, a cached
     * copy (bounded, least recently used goes first) for S3. Stays valid until the scope closes.
     */
    readonly localPath: (
      key: string,
    ) => Effect.Effect<string, ObjectNotFound | StoreUnavailable, import("effect").Scope.Scope>
    /** Whether the store can be written and read now; also the state of its circuit breaker. */
    readonly health: Effect.Effect<{ readonly circuit: CircuitState }, StoreUnavailable>
    /** State of the store's circuit breaker, without asking the store. */
    readonly circuit: Effect.Effect<CircuitState>
  }
>()("rat/lakehouse/store/ObjectStore") {}
