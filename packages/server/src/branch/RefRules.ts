import { mainRef, type RefName, RefRefused } from "@rat/domain"
import type { RefState } from "@rat/lakehouse"
import { Effect } from "effect"

/** Names that the server gives itself: of runs. */
const reserved = /^run-/

/** A name that people may give to a ref. */
export const checkNewName = (name: RefName) =>
  Effect.gen(function* () {
    if (name === mainRef) return yield* new RefRefused({ ref: name, reason: "main exists always." })
    if (reserved.test(name)) {
      const reason = `"${name}": names that begin with "run-" are those of the branches of runs. Choose another one.`
      return yield* new RefRefused({ ref: name, reason })
    }
    if (/\.\.|\/\/|\/$|^\/|\.$/.test(name)) {
      const reason = `"${name}" has an empty part between "/" or "..". Choose another name.`
      return yield* new RefRefused({ ref: name, reason })
    }
  })

/** A ref that people may end or merge. */
export const checkOwn = (ref: RefState, kind: "branch" | "tag", act: string) =>
  Effect.gen(function* () {
    if (ref.name === mainRef) {
      return yield* new RefRefused({ ref: ref.name, reason: `main cannot be ${act}.` })
    }
    if (ref.kind !== kind) {
      return yield* new RefRefused({ ref: ref.name, reason: `"${ref.name}" is a ${ref.kind}, not a ${kind}.` })
    }
    if (ref.runId !== null) {
      const reason = `"${ref.name}" is the branch of run ${ref.runId}, which ends it. It cannot be ${act} by hand; cancel the run instead.`
      return yield* new RefRefused({ ref: ref.name, reason })
    }
  })
