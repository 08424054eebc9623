import { Schema } from "effect"

/** A metadata, manifest-list or manifest file that is there but cannot be understood. Names the file and the reason. */
export class TableCorrupt extends Schema.TaggedError<TableCorrupt>()("TableCorrupt", {
  location: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return `${this.location} is not a readable Iceberg file: ${this.reason}`
  }
}
