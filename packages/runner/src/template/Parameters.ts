import { didYouMean } from "@rat/domain/suggestion"

/** What a run was given, by name; null while files are only checked, when nobody knows what they will be. */
export type TemplateParameters = Readonly<Record<string, unknown>> | null

/** A value for templates that are only checked: it is text, and a number where one is needed. */
export const someParameter = "0"

/** What is wrong with asking for a parameter that a run was not given. */
export const missingParameter = (name: string, given: Readonly<Record<string, unknown>>): string => {
  const names = Object.keys(given)
  const has = names.length === 0 ? "It was given none." : `It has ${names.join(", ")}.`
  return `The run has no parameter "${name}".${didYouMean(name, names)} ${has} Start it with \`--param ${name}=…\` (API: "parameters"), or say what holds without it: param('${name}', 'value').`
}
