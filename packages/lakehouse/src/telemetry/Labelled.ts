import { Metric } from "effect"

/**
 * Series of a metric by its labels, each made once: making one costs more than updating it. Label values must come from a
 * small fixed set (a status, a route, a pool), never from ids.
 */
export const labelled = <Name extends string, Input, State>(
  metric: Metric.Metric<Input, State>,
): ((labels: { readonly [N in Name]: string }) => Metric.Metric<Input, State>) => {
  const series = new Map<string, Metric.Metric<Input, State>>()
  return (labels) => {
    const key = Object.values(labels).join("\u0000")
    const known = series.get(key)
    if (known !== undefined) return known
    const fresh = Metric.withAttributes(metric, labels)
    series.set(key, fresh)
    return fresh
  }
}
