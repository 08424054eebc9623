import type { TableKey } from "@rat/domain"
import { isObjectKey, type MetadataUpdate, type ObjectStore, usualLocation } from "@rat/lakehouse"
import { Result } from "effect"
import { type RestFailure, refuse } from "./RestFailure.ts"

/**
 * What a client may not do to a table, whatever the protocol allows: tables share one store, and what a client writes into one
 * of them must neither reach outside of it nor take files away that branches, tags or running queries read.
 */

type Store = Pick<ObjectStore["Service"], "root" | "keyOf">

/** Whether a location is a proper key of the store: no `..`, no empty part, no control character. */
export const isInStore = (store: Store, location: string): boolean =>
  usualLocation(location).startsWith(store.root) && isObjectKey(usualLocation(location).slice(store.root.length))

/** Whether a location lies below a folder of the store. */
export const isBelow = (store: Store, folder: string, location: string): boolean =>
  isInStore(store, location) && usualLocation(location).startsWith(`${usualLocation(folder).replace(/\/+$/, "")}/`)

const refuseProperty = (name: string, why: string) =>
  refuse("BadRequestException", `The table property "${name}" cannot be set so: ${why}.`)

/** Where clients would write to or look for files, and what makes them run code or delete files. */
const propertyProblem = (store: Store, location: string, name: string, value: string): RestFailure | null => {
  switch (name) {
    case "gc.enabled":
      return value.toLowerCase() === "false"
        ? null
        : refuseProperty(
            name,
            "files may belong to other branches and tags, so only this server's maintenance deletes them",
          )
    case "write.metadata.delete-after-commit.enabled":
      return value.toLowerCase() === "false"
        ? null
        : refuseProperty(name, "older versions of the metadata belong to branches, tags and history")
    case "write.data.path":
    case "write.metadata.path":
    case "write.folder-storage.path":
    case "write.object-storage.path":
      return isBelow(store, location, value) || value.replace(/\/+$/, "") === location
        ? null
        : refuseProperty(name, `files of the table have to lie below ${location}`)
    case "write.format.default":
      return value.toLowerCase() === "parquet" ? null : refuseProperty(name, "only Parquet files are read here")
    case "write.delete.format.default":
      return /^(parquet|puffin)$/i.test(value)
        ? null
        : refuseProperty(name, "only Parquet and Puffin files are read here")
    case "write.location-provider.impl":
      return refuseProperty(name, "it names code that every client of the table would run")
    default:
      if (/^(encryption|io)[.-]/.test(name)) return refuseProperty(name, "encrypted tables cannot be read here")
      return name.startsWith("rat.") ? refuseProperty(name, "names that start with rat. belong to this server") : null
  }
}

export const propertiesProblem = (
  store: Store,
  location: string,
  properties: Readonly<Record<string, string>>,
): RestFailure | null => {
  for (const [name, value] of Object.entries(properties)) {
    const problem = propertyProblem(store, location, name, value)
    if (problem !== null) return problem
  }
  return null
}

const guarded = new Set(["gc.enabled", "write.format.default"])

const refuseLocation = (location: string, why: string) =>
  refuse("BadRequestException", `The location "${location}" cannot be used: ${why}.`)

const pathOfStatistics = (statistics: unknown): string =>
  String((statistics as { readonly "statistics-path"?: unknown })["statistics-path"])

/** The first update of a commit that breaks a rule. `location` is the table's folder. */
export const updatesProblem = (
  store: Store,
  location: string,
  updates: ReadonlyArray<MetadataUpdate>,
): RestFailure | null => {
  for (const update of updates) {
    switch (update.action) {
      case "set-location":
        if (usualLocation(update.location).replace(/\/+$/, "") !== usualLocation(location)) {
          return refuseLocation(update.location, `the table stays in ${location}`)
        }
        break
      case "set-properties": {
        const problem = propertiesProblem(store, location, update.updates)
        if (problem !== null) return problem
        break
      }
      case "remove-properties": {
        const name = update.removals.find((each) => guarded.has(each) || each.startsWith("rat."))
        if (name !== undefined) {
          return refuse(
            "BadRequestException",
            `The table property "${name}" cannot be removed: the table depends on it.`,
          )
        }
        break
      }
      case "add-snapshot":
        if (!isBelow(store, location, update.snapshot.manifestList)) {
          return refuseLocation(
            update.snapshot.manifestList,
            `manifest lists of the table have to lie below ${location}`,
          )
        }
        break
      case "set-statistics":
      case "set-partition-statistics": {
        const path = pathOfStatistics(
          update.action === "set-statistics" ? update.statistics : update.partitionStatistics,
        )
        if (!isBelow(store, location, path)) {
          return refuseLocation(path, `statistics of the table have to lie below ${location}`)
        }
        break
      }
    }
  }
  return null
}

/** Random end of the folders that are made here: a table made again under a name has none of its forerunner's files. */
const suffixPattern = /^-[0-9a-f]{12}$/

export const newLocation = (store: Pick<ObjectStore["Service"], "locationOf">, key: TableKey, uuid: string): string =>
  `${store.locationOf(`${key.namespace}/${key.layer}/${key.name}`)}-${uuid.replaceAll("-", "").slice(-12)}`

/** A folder that a client names for a new table: one that this server would choose, or did choose for a staged create. */
export const checkNewLocation = (
  store: Pick<ObjectStore["Service"], "locationOf">,
  key: TableKey,
  wanted: string,
): Result.Result<string, RestFailure> => {
  const location = wanted.replace(/\/+$/, "")
  const folder = store.locationOf(`${key.namespace}/${key.layer}/${key.name}`)
  return location.startsWith(folder) && suffixPattern.test(location.slice(folder.length))
    ? Result.succeed(location)
    : Result.fail(
        refuseLocation(wanted, "this server chooses where tables lie. Leave it out, also in the table's properties"),
      )
}
