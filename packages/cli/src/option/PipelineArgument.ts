import { Layer, namePattern, nearest } from "@rat/domain"
import { Effect } from "effect"
import { CliFailure } from "../failure/CliFailure.ts"
import { ExitCode } from "../failure/ExitCode.ts"

/** Address of a pipeline and of the table it writes. */
export interface PipelineAddress {
  readonly namespace: string
  readonly layer: Layer
  readonly name: string
}

export const addressText = (address: PipelineAddress) => `${address.namespace}.${address.layer}.${address.name}`

const isLayer = (text: string | undefined): text is Layer =>
  (Layer.literals as ReadonlyArray<string>).includes(text ?? "")

/** `layer.name` or `namespace.layer.name`; a slash may stand for each dot, as in the project's folders. */
export const parseAddress = (text: string, namespace: string): Effect.Effect<PipelineAddress, CliFailure> => {
  const parts = text
    .replace(/^pipelines\//, "")
    .replace(/\/$/, "")
    .split(/[./]/)
  const [name, layer, given, ...more] = parts.toReversed()
  const usage = (message: string, next: string) =>
    Effect.fail(new CliFailure({ message, next, exitCode: ExitCode.usage }))
  if (name === undefined || layer === undefined || more.length > 0) {
    return usage(`"${text}" is not a table or pipeline.`, "Write layer.name, such as silver.orders.")
  }
  if (!isLayer(layer)) {
    const meant = nearest(layer, Layer.literals)
    return usage(
      `"${layer}" in "${text}" is not a layer.`,
      meant === null ? "The layers are bronze, silver and gold." : `Did you mean "${meant}.${name}"?`,
    )
  }
  if (!namePattern.test(name) || (given !== undefined && !namePattern.test(given))) {
    return usage(`"${text}" is not a valid name.`, "Names have lower-case letters, digits, '_' and '-'.")
  }
  return Effect.succeed({ namespace: given ?? namespace, layer, name })
}
