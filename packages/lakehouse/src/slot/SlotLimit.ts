import { type SlotFailure, slotCodes } from "./SlotProtocol.ts"

/**
 * What one holder may use of a slot, apart from the engine's own limits, which end a statement politely. These are
 * measured from outside, so they hold for what the engine does not count and for code that does not answer.
 */
export interface HolderLimits {
  /** Bytes of memory of the whole process. Whoever goes over it loses the process at once. */
  readonly memoryBytes?: number
  /** Processor time of one holder, all threads added up, in milliseconds. */
  readonly cpuMs?: number
  /** Bytes on disk: what the engine spilled and what lies in `out/` under no other name. */
  readonly diskBytes?: number
  /** Longest time of one holder, in milliseconds, for holders that have no limit of their own. */
  readonly timeMs?: number
}

/** Names of the settings that raise each limit, for messages. */
export interface LimitSettings {
  readonly memory: string
  readonly cpu: string
  readonly disk: string
}

const size = (bytes: number): string =>
  bytes >= 10 * 2 ** 30 ? `${Math.round(bytes / 2 ** 30)} GiB` : `${Math.round(bytes / 2 ** 20)} MiB`

const seconds = (milliseconds: number): string => `${Math.round(milliseconds / 100) / 10} s`

const raise = (setting: string | undefined): string =>
  setting === undefined ? "" : `, or raise the limit of the server (${setting})`

/** The failures of operations that went over a limit: which, its value, what to do. */
export const limitFailure = {
  memory: (limitBytes: number, setting?: string): SlotFailure => ({
    code: slotCodes.memory,
    message: `It was stopped because its process held more than ${size(limitBytes)} of memory, its limit. Long lists and strings, and much data in one group, are what the engine cannot move to disk: aggregate earlier, select fewer columns${raise(setting)}.`,
  }),
  cpu: (limitMs: number, setting?: string): SlotFailure => ({
    code: slotCodes.cpu,
    message: `It was stopped after ${seconds(limitMs)} of processor time, its limit. Make it do less: filter before joining, look for joins that multiply rows${raise(setting)}.`,
  }),
  disk: (limitBytes: number, setting?: string): SlotFailure => ({
    code: slotCodes.disk,
    message: `It was stopped because it held more than ${size(limitBytes)} of temporary files, its limit. Sort, join and aggregate less data at once${raise(setting)}.`,
  }),
  time: (limitMs: number): SlotFailure => ({
    code: slotCodes.time,
    message: `It was stopped after ${seconds(limitMs)}, its time limit.`,
  }),
}
