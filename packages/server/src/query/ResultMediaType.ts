import type { ResultFormat } from "@rat/domain"

/** Formats of an answer, by media type. The first one is what callers without a wish get. */
const mediaTypes: ReadonlyArray<{ readonly type: string; readonly format: Exclude<ResultFormat, "arrays"> }> = [
  { type: "application/json", format: "objects" },
  { type: "text/csv", format: "csv" },
  { type: "application/vnd.apache.parquet", format: "parquet" },
  { type: "application/vnd.apache.arrow.stream", format: "arrow" },
]

const matches = (range: string, type: string): boolean =>
  range === "*/*" || range === type || (range.endsWith("/*") && type.startsWith(range.slice(0, -1)))

/** The format an `Accept` header asks for, by its weights (RFC 9110, 12.5.1); null when it accepts none of ours. */
export const formatOfAccept = (accept: string | undefined): Exclude<ResultFormat, "arrays"> | null => {
  if (accept === undefined || accept.trim() === "") return "objects"
  const ranges = accept
    .split(",")
    .map((part) => {
      const [range, ...parameters] = part.split(";").map((piece) => piece.trim().toLowerCase())
      const weight = parameters.find((parameter) => parameter.startsWith("q="))?.slice(2)
      return { range: range ?? "", weight: weight === undefined ? 1 : Number(weight) }
    })
    .filter(({ weight }) => weight > 0)
    // Sorting is stable: equal weights keep the caller's order.
    .sort((a, b) => b.weight - a.weight)
  for (const { range } of ranges) {
    const found = mediaTypes.find(({ type }) => matches(range, type))
    if (found !== undefined) return found.format
  }
  return null
}

export const acceptedMediaTypes = mediaTypes.map(({ type }) => type).join(", ")
