import { Schema } from "effect"

/** Branch or tag name: the name rule plus '.', upper case and '/', as git users expect. */
export const RefName = Schema.String.check(
  Schema.isPattern(/^[A-Za-z][A-Za-z0-9_./-]{0,199}$/, {
    message: "must start with a letter and hold at most 200 letters, digits, '_', '-', '.' and '/'",
  }),
).pipe(Schema.brand("RefName"))
export type RefName = typeof RefName.Type

/** Production: what queries read unless they say otherwise. */
export const mainRef = RefName.make("main")

/** Number of a commit; rises over all refs. Null before the first one. */
export const CommitId = Schema.BigIntFromString.pipe(Schema.brand("CommitId"))
export type CommitId = typeof CommitId.Type

export class RefNotFound extends Schema.TaggedError<RefNotFound>()(
  "RefNotFound",
  { ref: Schema.String },
  { httpApiStatus: 404 },
) {
  override get message() {
    return `Branch or tag "${this.ref}" does not exist. A successful run's branch ends with it; a failed one's expires.`
  }
}

export class RefExists extends Schema.TaggedError<RefExists>()(
  "RefExists",
  { ref: Schema.String },
  { httpApiStatus: 409 },
) {
  override get message() {
    return `Branch or tag "${this.ref}" already exists.`
  }
}
