import { createHash } from "node:crypto"
import { copyFile, link } from "node:fs/promises"
import { join } from "node:path"
import type { Slot } from "@rat/lakehouse"
import { Effect } from "effect"

/** Name of an object in a slot: has nothing in it that is special to SQL or globs. */
export const slotFileName = (location: string): string =>
  `${createHash("sha256").update(location).digest("hex").slice(0, 32)}.parquet`

/** Puts files into the slot's `in/`: as hard links, or as copies when they lie on another file system. */
export const linkFiles = (slot: Slot, paths: ReadonlyMap<string, string>): Effect.Effect<void> =>
  Effect.forEach(
    paths,
    ([location, path]) =>
      Effect.promise(async () => {
        const target = join(slot.folder, "in", slotFileName(location))
        try {
          await link(path, target)
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          if (code === "EEXIST") return // the text names the table twice
          if (code !== "EXDEV" && code !== "EPERM" && code !== "EMLINK") throw error
          await copyFile(path, target)
        }
      }),
    { concurrency: 16, discard: true },
  )
