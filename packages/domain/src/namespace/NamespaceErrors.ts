import { Schema } from "effect"

export class NamespaceNotFound extends Schema.TaggedError<NamespaceNotFound>()(
  "NamespaceNotFound",
  { namespace: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `Namespace "${this.namespace}" does not exist. Create it first, or check the spelling.`
  }
}

export class NamespaceExists extends Schema.TaggedError<NamespaceExists>()(
  "NamespaceExists",
  { namespace: Schema.String },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Namespace "${this.namespace}" already exists.`
  }
}

export class NamespaceProtected extends Schema.TaggedError<NamespaceProtected>()(
  "NamespaceProtected",
  { namespace: Schema.String },
  { httpApiStatus: 403 },
) {
  override get message() {
    return `Namespace "${this.namespace}" is always there and cannot be deleted.`
  }
}

/** Deleting would orphan what the namespace holds; the person decides, not a cascade. */
export class NamespaceNotEmpty extends Schema.TaggedError<NamespaceNotEmpty>()(
  "NamespaceNotEmpty",
  { namespace: Schema.String, pipelines: Schema.Int, zones: Schema.Int, tables: Schema.Int },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Namespace "${this.namespace}" still holds ${this.pipelines} pipeline(s), ${this.zones} landing zone(s) and ${this.tables} table(s). Delete them first.`
  }
}
