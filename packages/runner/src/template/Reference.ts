import { didYouMean, Layer, NamespaceName, namePattern, PipelineName, TableKey } from "@rat/domain"

/** A table that `ref()` names, or why the text names none. */
export type Reference = { readonly key: TableKey } | { readonly problem: string }

/** `layer.name` (own namespace) or `namespace.layer.name`. */
export const parseReference = (text: string, ownNamespace: string): Reference => {
  const parts = text.split(".")
  const [namespace, layer, name] = parts.length === 2 ? [ownNamespace, ...parts] : parts
  if (parts.length < 2 || parts.length > 3 || namespace === undefined || layer === undefined || name === undefined) {
    return { problem: `ref('${text}') must name a table as 'layer.name' or 'namespace.layer.name'.` }
  }
  const known = Layer.literals.find((literal) => literal === layer)
  if (known === undefined) {
    return {
      problem: `ref('${text}'): "${layer}" is no layer.${didYouMean(layer, Layer.literals)} There are: ${Layer.literals.join(", ")}.`,
    }
  }
  const wrong = [namespace, name].find((part) => !namePattern.test(part))
  if (wrong !== undefined) {
    return {
      problem: `ref('${text}'): "${wrong}" is no valid name: lower-case letters, digits, '_' and '-', first a letter.`,
    }
  }
  return {
    key: new TableKey({ namespace: NamespaceName.make(namespace), layer: known, name: PipelineName.make(name) }),
  }
}
