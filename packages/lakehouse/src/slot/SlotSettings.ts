import { totalmem } from "node:os"
import { Config, Schema } from "effect"
import { byteSize } from "./ByteSize.ts"
import type { HolderLimits, LimitSettings } from "./SlotLimit.ts"
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

/**
 * Memory of the whole process when nobody says: the engine's and as much again for what it does not count, such as lists that
 * are being built, and 512 MiB for JavaScript and libraries. Only who is out of hand gets there.
 */
export const processMemory = (engineBytes: number): number => 2 * engineBytes + 512 * 2 ** 20

/** Limits of one holder from the settings of these names; without them there is none for CPU and disk. */
export const holderLimits = (names: LimitSettings, engineBytes: number): Config.Config<HolderLimits> =>
  Config.all({
    memoryBytes: byteSize(names.memory, processMemory(engineBytes)),
    cpuSeconds: wholeNumber(names.cpu, 0, 0),
    diskBytes: byteSize(names.disk, 0),
  }).pipe(
    Config.map(({ memoryBytes, cpuSeconds, diskBytes }) => ({
      memoryBytes,
      ...(cpuSeconds > 0 ? { cpuMs: cpuSeconds * 1_000 } : {}),
      ...(diskBytes > 0 ? { diskBytes } : {}),
    })),
  )

/** When a process is replaced although nothing happened to it, and how many are ready in advance. */
export interface SlotRecycling {
  readonly recycleAfter: number
  readonly recycleAfterMs: number
  readonly recycleGrowthBytes: number
  readonly spares: number
}

export const slotRecycling: Config.Config<SlotRecycling> = Config.all({
  recycleAfter: wholeNumber("RAT_SLOT_MAX_HOLDERS", 1_000),
  recycleAfterMs: Config.map(wholeNumber("RAT_SLOT_MAX_AGE_MINUTES", 360), (minutes) => minutes * 60_000),
  recycleGrowthBytes: byteSize("RAT_SLOT_MAX_GROWTH", 512 * 2 ** 20),
  spares: wholeNumber("RAT_SLOT_SPARES", 1, 0),
})

/** What one engine may spill to disk when nobody says: 10 GiB. */
export const defaultSpillBytes = 10 * 2 ** 30

/** Wall around slot processes: as far as the platform allows, none, or no start without one (RAT_SLOT_WALL). */
export const slotWall: Config.Config<WallMode> = Config.schema(
  Schema.Literals(["auto", "off", "require"]),
  "RAT_SLOT_WALL",
).pipe(Config.withDefault("auto" as const))
