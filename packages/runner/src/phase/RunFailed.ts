import { Schema } from "effect"

/** The run cannot go on. `message` is for people; `code` is stable. */
export class RunFailed extends Schema.TaggedError<RunFailed>()("RunFailed", {
  code: Schema.String,
  reason: Schema.String,
}) {
  override get message() {
    return this.reason
  }
}
