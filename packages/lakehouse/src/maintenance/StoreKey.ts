import { usualLocation } from "../store/ObjectLocation.ts"
import type { ObjectStore } from "../store/ObjectStore.ts"

/**
 * The key of the object that a location names, however its writer spells it; null when it is not in this store. What is not
 * recognised here counts as unreachable, so spellings matter more than anywhere else.
 */
export const storeKey = (store: Pick<ObjectStore["Service"], "root">, location: string): string | null => {
  const [root, wanted] = [usualLocation(store.root), usualLocation(location)]
  return wanted.startsWith(root) ? wanted.slice(root.length) : null
}

const layers = new Set(["bronze", "silver", "gold"])

/** Whose an object is, by its key. Only what lies in the first two places is ever removed. */
export type Place =
  | { readonly kind: "table"; readonly place: string; readonly name: string }
  | { readonly kind: "landing"; readonly place: string }
  | { readonly kind: "other" }

/**
 * `<namespace>/<layer>/<table>/{data,metadata}/…` belongs to a table, `<namespace>/landing/<zone>/<file>` to a landing zone.
 * The bucket may hold more than ours.
 */
export const placeOf = (key: string): Place => {
  const [namespace, second, third, fourth, ...rest] = key.split("/")
  if (second === undefined || third === undefined || fourth === undefined) return { kind: "other" }
  if (layers.has(second) && (fourth === "data" || fourth === "metadata") && rest.length > 0) {
    return { kind: "table", place: `${namespace}/${second}/${third}`, name: rest.at(-1)! }
  }
  if (second === "landing" && rest.length === 0) return { kind: "landing", place: `${namespace}/landing/${third}` }
  return { kind: "other" }
}
