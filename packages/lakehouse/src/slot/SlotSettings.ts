import { totalmem } from "node:os"
import { Config, Schema } from "effect"
import type { WallMode } from "./SlotWall.ts"

/** A setting that is a whole number, `least` or more. */
export const wholeNumber = (name: string, fallback: number, least = 1): Config.Config<number> =>
  Config.schema(Schema.Int.check(Schema.isGreaterThanOrEqualTo(least)), name).pipe(Config.withDefault(fallback))

/** Bytes of memory of the machine, or of the container when that has less. */
const availableMemory = (): number => {
  const constrained = process.constrainedMemory()
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem()
}

/** The memory of one of `slots` engines when nobody says: half of what there is goes to a role's slots together. */
export const memoryShare = (slots: number): number => Math.floor(availableMemory() / 2 / slots)

/** What one engine may spill to disk when nobody says: 10 GiB. */
export const defaultSpillBytes = 10 * 2 ** 30

/** Wall around slot processes: as far as the platform allows, none, or no start without one (RAT_SLOT_WALL). */
export const slotWall: Config.Config<WallMode> = Config.schema(
  Schema.Literals(["auto", "off", "require"]),
  "RAT_SLOT_WALL",
).pipe(Config.withDefault("auto" as const))
