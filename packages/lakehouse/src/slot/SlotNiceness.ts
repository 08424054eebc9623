import { readdirSync } from "node:fs"
import { setPriority } from "node:os"

/**
 * How readily slots leave the processor to others (nice values, 0 to 19). Whoever serves requests, claims and Postgres goes before
 * slots; an operation that takes long goes behind the short ones of its neighbours, which it hardly notices and they very much.
 */
export const slotNiceness = 2
export const longNiceness = 10

/** An operation that has taken so long is a long one. */
export const longAfterMs = 200

/** Threads of a process: on Linux each has a niceness of its own. Elsewhere nothing is known of them. */
const threadsOf = (pid: number): ReadonlyArray<number> => {
  try {
    return readdirSync(`/proc/${pid}/task`).map(Number)
  } catch {
    return []
  }
}

/**
 * Sets the niceness of the threads that do a slot's work; its main thread stays as ready as it was to hear of a cancel. False when a part of it could not be: lowering it takes a privilege
 * (CAP_SYS_NICE) that raising it does not.
 */
export const setNiceness = (pid: number, niceness: number): boolean => {
  let isSet = true
  for (const thread of threadsOf(pid)) {
    if (thread === pid && niceness === longNiceness) continue
    try {
      setPriority(thread, niceness)
    } catch (error) {
      // A thread that has just ended needs none.
      if ((error as { readonly info?: { readonly code?: string } }).info?.code !== "ESRCH") isSet = false
    }
  }
  return isSet
}
