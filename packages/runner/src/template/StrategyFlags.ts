import { MergeStrategy } from "@rat/domain"

/** Answers of `is_full_refresh()`, `is_append_only()`, … for a pipeline's strategy. */
export const strategyFlags = (strategy: MergeStrategy): Readonly<Record<string, boolean>> =>
  Object.fromEntries(MergeStrategy.literals.map((literal) => [`is_${literal}`, literal === strategy]))
