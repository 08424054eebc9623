/** One thing that must be right for RAT to run here. */
export interface Check {
  readonly name: string
  /** `warn`: works, but not for long or not well. */
  readonly status: "ok" | "warn" | "failed"
  readonly detail: string
  /** What to do; absent when all is well. */
  readonly advice?: string
}

export const ok = (name: string, detail: string): Check => ({ name, status: "ok", detail })
export const warn = (name: string, detail: string, advice: string): Check => ({ name, status: "warn", detail, advice })
export const failed = (name: string, detail: string, advice: string): Check => ({
  name,
  status: "failed",
  detail,
  advice,
})
