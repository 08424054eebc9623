import { Schema } from "effect"

/**
 * The rule for every name a person chooses: namespaces, pipelines, landing zones, quality tests.
 * Nothing in it is special to SQL globs, object-store policies or file systems.
 */
export const namePattern = /^[a-z][a-z0-9_-]{0,127}$/

const nameRule = Schema.isPattern(namePattern, {
  message: "must start with a lower-case letter and hold at most 128 lower-case letters, digits, '_' and '-'",
})

export const NamespaceName = Schema.String.check(nameRule).pipe(Schema.brand("NamespaceName"))
export type NamespaceName = typeof NamespaceName.Type

/** The name rule without a brand, for names that need no type of their own. */
export const Name = Schema.String.check(nameRule)

/** The namespace that exists from the first start and cannot be deleted. */
export const defaultNamespace = NamespaceName.make("default")

/** Free text that people write about a thing: at most 5,000 characters. */
export const Description = Schema.String.check(Schema.isMaxLength(5000))

export class Namespace extends Schema.Class<Namespace>("rat/domain/Namespace")({
  name: NamespaceName,
  description: Schema.String,
  created_by: Schema.NullOr(Schema.String),
  created_at: Schema.DateTimeUtcFromDate,
}) {}
