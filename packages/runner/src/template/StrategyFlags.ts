import { MergeStrategy } from "@rat/domain"
import { strategyRules } from "@rat/lakehouse"

/**
 * Answers of `is_full_refresh()`, `is_append_only()`, … for a pipeline's strategy: whether it is that one. `is_incremental()` is
 * the exception, so that the habit `{% if is_incremental() %} where at > (select max(at) from {{ this }}) {% endif %}` is right:
 * it asks whether this run may read only what is new. True for the strategies `incremental`, `append_only` and `delete_insert`, and
 * only (the template sees to that) when the table exists before the run.
 */
export const strategyFlags = (strategy: MergeStrategy): Readonly<Record<string, boolean>> => ({
  ...Object.fromEntries(MergeStrategy.literals.map((literal) => [`is_${literal}`, literal === strategy])),
  is_incremental: strategyRules[strategy]?.isPartial === true,
})
