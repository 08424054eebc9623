import { withoutServerPaths } from "@rat/lakehouse"
import { Cause } from "effect"

/** What a run's end says of its failure. */
export interface Failure {
  readonly code: string
  readonly error: string
}

/** Stable codes of the errors that are not the run's own. */
const codes: { readonly [Tag in string]: string } = {
  SlotDied: "slot.died",
  SlotsBusy: "slot.busy",
  StoreUnavailable: "store.unavailable",
  ObjectNotFound: "store.missing",
  TableCorrupt: "table.corrupt",
  SchemaMismatch: "schema.mismatch",
  MergeRefused: "merge.refused",
  UpdateRefused: "table.refused",
  PublishConflict: "publish.conflict",
  CatalogConflict: "publish.conflict",
  RefNotFound: "branch.missing",
  RefExists: "branch.exists",
}

const advice: { readonly [Tag in string]: string } = {
  SlotDied:
    " Nothing was published. Run it again; if it happens again, the pipeline needs less memory or smaller steps.",
  StoreUnavailable: " Nothing was published. Run it again when the store answers (`rat doctor` says).",
}

/** Extra facts of a failed slot operation that are for the log, not for people. */
interface Tagged {
  readonly _tag: string
  readonly message: string
  readonly code?: unknown
}

const isTagged = (error: unknown): error is Tagged =>
  typeof error === "object" && error !== null && "_tag" in error && "message" in error

/** Characters of a run's error. Messages of many problems, or that hold people's text, can be of any length. */
const maxError = 16_000

/** Turns what ended a run into a code and a text for people. Never a stack trace, never a folder of the server. */
export const failureOf = (cause: Cause.Cause<unknown>): Failure => {
  const { code, error } = described(Cause.squash(cause))
  return { code, error: error.length > maxError ? `${error.slice(0, maxError)}…` : error }
}

const described = (error: unknown): Failure => {
  if (!isTagged(error))
    return { code: "internal", error: unexpected(error instanceof Error ? error.message : String(error)) }
  switch (error._tag) {
    case "RunFailed":
      return { code: String(error.code), error: error.message }
    case "SlotOpFailed":
      return error.code === "slot.defect"
        ? { code: "internal", error: unexpected(error.message) }
        : { code: String(error.code), error: error.message }
    case "EngineFailed":
      return { code: String(error.code), error: withoutServerPaths(error.message) }
    case "SqlError":
      return {
        code: "catalog.unavailable",
        error: "The database that holds the catalog did not answer. Nothing was published. Run it again when it does.",
      }
    default: {
      // Full, forbidden or misconfigured: it answers, so that waiting for it is in vain.
      const isRefusal = error._tag === "StoreUnavailable" && !(error as Tagged & { isOutage?: unknown }).isOutage
      const code = isRefusal ? "store.refused" : codes[error._tag]
      return code === undefined
        ? { code: "internal", error: unexpected(error.message) }
        : { code, error: `${withoutServerPaths(error.message)}${advice[error._tag] ?? ""}` }
    }
  }
}

const unexpected = (message: string): string =>
  `Something unexpected went wrong, and nothing was published: ${withoutServerPaths(message.split("\n")[0] ?? "")}. The log of the server has the details.`
