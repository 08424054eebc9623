import { FileProtected, NamespaceName, namePattern } from "@rat/domain"
import { Effect } from "effect"

/** Which part of a namespace a path lies in, and what is done with it there. */
export type FileArea =
  | { readonly kind: "pipelines"; readonly namespace: NamespaceName; readonly folder: string | null }
  | { readonly kind: "landing"; readonly namespace: NamespaceName; readonly zone: string; readonly name: string }

/**
 * `ns/pipelines/…` are files that people edit; `ns/landing/zone/name` are uploads of a landing zone. Everything else
 * (table data, metadata, blobs) belongs to the platform and is not reachable as a file. `folder` is that of one
 * pipeline, `ns/pipelines/layer/name/`, null for files beside the pipelines.
 */
export const areaOf = (path: string): FileArea | null => {
  const [namespace = "", area, ...rest] = path.split("/")
  if (!namePattern.test(namespace)) return null
  const owner = NamespaceName.make(namespace)
  if (area === "pipelines" && rest.length >= 1) {
    return {
      kind: "pipelines",
      namespace: owner,
      folder: rest.length >= 3 ? `${namespace}/pipelines/${rest[0]}/${rest[1]}/` : null,
    }
  }
  if (area === "landing" && rest.length === 2) {
    return { kind: "landing", namespace: owner, zone: rest[0] ?? "", name: rest[1] ?? "" }
  }
  return null
}

export const editableArea = (path: string): Effect.Effect<FileArea, FileProtected> => {
  const area = areaOf(path)
  return area === null ? Effect.fail(new FileProtected({ path })) : Effect.succeed(area)
}
