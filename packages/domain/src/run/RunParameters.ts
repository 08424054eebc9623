import { Schema } from "effect"

/** Most parameters of one run, and bytes of all of them as JSON. */
export const maxParameters = 100
export const maxParametersBytes = 16_384

const name = /^[A-Za-z_][A-Za-z0-9_]{0,99}$/

const fits = Schema.makeFilter((parameters: Readonly<Record<string, Schema.Json>>) => {
  const names = Object.keys(parameters)
  const strange = names.find((candidate) => !name.test(candidate))
  if (strange !== undefined) {
    return `"${strange}" is no name of a parameter: letters, digits and _, no digit in front, at most 100 of them.`
  }
  if (names.length > maxParameters) return `A run takes at most ${maxParameters} parameters, not ${names.length}.`
  const bytes = new TextEncoder().encode(JSON.stringify(parameters)).length
  return bytes > maxParametersBytes
    ? `Parameters take at most ${maxParametersBytes} bytes as JSON, not ${bytes}.`
    : undefined
})

/** What a run was given by whoever started it: JSON by name; templates read it with `param('name')`. Bounded. */
export const RunParameters = Schema.Record(Schema.String, Schema.Json).check(fits)
export type RunParameters = typeof RunParameters.Type
