/** One sample of the Prometheus text format (version 0.0.4). */
export interface PrometheusSample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface PrometheusText {
  readonly samples: ReadonlyArray<PrometheusSample>
  /** `counter`, `gauge`, `histogram`, `summary` or `untyped`, by the name of the metric family. */
  readonly types: ReadonlyMap<string, string>
}

const sampleLine = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)(?: -?\d+)?$/
const label = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)"(?:,|$)/

const labelsOf = (text: string): Record<string, string> => {
  const labels: Record<string, string> = {}
  for (let rest = text; rest !== ""; ) {
    const found = label.exec(rest)
    if (found === null) throw new Error(`not a list of labels: ${text}`)
    labels[found[1]!] = found[2]!.replace(/\\(.)/g, (_, escaped) => (escaped === "n" ? "\n" : escaped))
    rest = rest.slice(found[0].length)
  }
  return labels
}

const numberOf = (text: string): number => {
  if (text === "NaN") return Number.NaN
  if (/^[+-]?Inf$/.test(text)) return text.startsWith("-") ? Number.NEGATIVE_INFINITY : Number.POSITIVE_INFINITY
  const value = Number(text)
  if (Number.isNaN(value)) throw new Error(`not a number: ${text}`)
  return value
}

/** Reads what a scraper would; throws at the first line that it would refuse. */
export const parsePrometheus = (text: string): PrometheusText => {
  const samples: Array<PrometheusSample> = []
  const types = new Map<string, string>()
  for (const line of text.split("\n")) {
    const type = /^# TYPE (\S+) (counter|gauge|histogram|summary|untyped)$/.exec(line)
    if (type !== null) {
      if (types.has(type[1]!)) throw new Error(`a second TYPE line of ${type[1]}`)
      types.set(type[1]!, type[2]!)
    }
    if (line === "" || line.startsWith("#")) continue
    const found = sampleLine.exec(line)
    if (found === null) throw new Error(`not a sample: ${line}`)
    samples.push({ name: found[1]!, labels: labelsOf(found[2] ?? ""), value: numberOf(found[3]!) })
  }
  return { samples, types }
}
