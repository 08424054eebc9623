import { copyFile, link, mkdir } from "node:fs/promises"
import { basename, join } from "node:path"
import type { ZoneListing } from "@rat/domain"
import { ObjectStore, type ScanPlan, ScanPlanner, type Slot } from "@rat/lakehouse"
import { Effect } from "effect"
import { inputFolder } from "../sandbox/SlotFolders.ts"
import { RunFailed } from "./RunFailed.ts"

/** Characters of an object's name in the name of its link; locations of deletion vectors may be longer than a file name. */
const shownNameLength = 100

/** Links made at the same time. */
const concurrency = 16

const isErrno = (error: unknown): error is NodeJS.ErrnoException => error instanceof Error && "code" in error

/** A file under a second name: a hard link, or a copy where links cannot be (another file system). */
const linkFile = async (from: string, to: string): Promise<void> => {
  try {
    await link(from, to)
  } catch (error) {
    const code = isErrno(error) ? error.code : undefined
    if (code === "EEXIST") return
    if (code !== "EXDEV" && code !== "EPERM" && code !== "ENOTSUP" && code !== "EMLINK") throw error
    await copyFile(from, to)
  }
}

/** Not recursive: the folder of a slot that died must not come back. */
const makeFolder = (path: string): Promise<void> =>
  mkdir(path).catch((error) => {
    if (!isErrno(error) || error.code !== "EEXIST") throw error
  })

const inSlot = (what: string, run: () => Promise<void>) =>
  Effect.tryPromise({
    try: run,
    catch: (error) =>
      new RunFailed(
        isErrno(error) && error.code === "ENOSPC"
          ? {
              code: "machine.disk",
              reason: `The disk of the runner is full: ${what} could not be made readable. Free space and run again.`,
            }
          : {
              code: "runner.files",
              reason: `${what} could not be made readable for the run (${isErrno(error) ? error.code : "unknown reason"}). Run it again; if it happens again, look at the runner's disk and the rights of its data folder.`,
            },
      ),
  })

/**
 * Around work on a slot's files: they go with their process, so when something fails there because the process died,
 * that is what is said.
 */
export const withSlotFiles =
  (slot: Slot) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>) =>
    Effect.tapError(effect, () => slot.call("noop", null))

/** Folder below which each landing zone has its folder. */
export const landingFolder = (slot: Slot): string => join(slot.folder, "in", "landing")

/** What a slot may read: exactly the files that were planned, under names in its private folder. */
export type Inputs = Effect.Success<ReturnType<typeof makeInputs>>

export const makeInputs = Effect.fnUntraced(function* (slot: Slot) {
  const store = yield* ObjectStore
  const planner = yield* ScanPlanner
  const folder = join(slot.folder, inputFolder)
  const paths = new Map<string, string>()
  const linked = new Set<string>()

  const pathOf = (location: string): string => {
    const known = paths.get(location)
    if (known !== undefined) return known
    // The number keeps files of the same name from different tables apart.
    const path = join(folder, `${paths.size}-${basename(location).slice(0, shownNameLength)}`)
    paths.set(location, path)
    return path
  }

  return {
    pathOf,
    /** Makes the plan's files readable, until the scope closes. */
    addTable: (plan: Pick<ScanPlan, "locations">) =>
      Effect.forEach(
        plan.locations.filter((location) => !linked.has(location)),
        (location) => {
          linked.add(location)
          return Effect.flatMap(planner.localPath(location), (local) =>
            inSlot(store.keyOf(location), () => linkFile(local, pathOf(location))),
          )
        },
        { concurrency, discard: true },
      ),
    /** A file that the slot itself wrote and that is about to be moved to the store as `location`. */
    addWritten: (location: string, localPath: string) => {
      linked.add(location)
      return inSlot(store.keyOf(location), () => linkFile(localPath, pathOf(location)))
    },
    addZone: (listing: ZoneListing) => {
      const zone = join(landingFolder(slot), listing.zone)
      return Effect.andThen(
        inSlot("The slot's folder", () => makeFolder(landingFolder(slot)).then(() => makeFolder(zone))),
        Effect.forEach(
          listing.files,
          (file) =>
            Effect.flatMap(store.localPath(file.key), (local) =>
              inSlot(file.filename, () => linkFile(local, join(zone, basename(file.key)))),
            ),
          { concurrency, discard: true },
        ),
      )
    },
  }
})
