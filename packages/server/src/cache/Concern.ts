import { mainRef } from "@rat/domain"

/** Events by the word before the dot of their type: `pipeline.created` is of the group `pipeline`. */
export type EventGroup = "pipeline" | "file" | "landing" | "namespace" | "table" | "branch" | "tag"

/** Events that change an answer. Without a namespace those of every namespace. */
export interface Concern {
  readonly group: EventGroup
  readonly namespace?: string
}

/** The group of a type. */
export const groupOf = (type: string): string => type.slice(0, type.indexOf("."))

const within = (namespace: string | null | undefined, ...groups: ReadonlyArray<EventGroup>): ReadonlyArray<Concern> =>
  groups.map((group) => (namespace == null ? { group } : { group, namespace }))

const decoded = (segment: string): string | null => {
  try {
    return decodeURIComponent(segment)
  } catch {
    return null
  }
}

/**
 * What the answer to a GET depends on, or null for answers that are not kept: those that change all the time, and those
 * that change without an event. Whoever adds a path here makes sure that every write behind it appends an event in its own
 * transaction (docs/operations/events.md has the list).
 *
 * `url`: path and query as they were sent. `isCatalogOurs`: false with a catalog that others change without telling us.
 */
export const concernsOf = (url: string, isCatalogOurs: boolean): ReadonlyArray<Concern> | null => {
  const { pathname, searchParams } = new URL(url, "http://server")
  if (!pathname.startsWith("/api/v1/")) return null
  const [noun = "", ...rest] = pathname.slice("/api/v1/".length).replace(/\/$/, "").split("/").map(decoded)
  if (rest.includes(null)) return null
  const parts = rest as ReadonlyArray<string>
  const namespace = parts[0] ?? searchParams.get("namespace")
  const branch = searchParams.get("branch")
  const isMain = branch === null || branch === mainRef
  switch (noun) {
    case "features":
      return []
    case "namespaces":
      return parts.length === 0 ? within(null, "namespace") : null
    case "pipelines":
      // Whether a pipeline has files, and which, is a part of it.
      return parts.length === 0 || parts.length === 3 ? within(namespace, "pipeline", "file") : null
    case "files": {
      const path = parts.length === 0 ? (searchParams.get("prefix") ?? "") : parts.join("/")
      return within(path.split("/")[0] ?? "", "file", "landing")
    }
    case "landing-zones":
      return within(namespace, "landing")
    case "tables":
      if (!isCatalogOurs || !isMain) return null
      if (parts.length === 0) return within(namespace, "table", "pipeline")
      // Descriptions of tables that nobody described are those of their pipelines.
      return parts.length === 3 || (parts.length === 4 && (parts[3] === "metadata" || parts[3] === "snapshots"))
        ? within(namespace, "table", "pipeline")
        : null
    case "schema":
      return isCatalogOurs && isMain ? within(null, "table", "pipeline") : null
    case "branches":
      // Branches of runs come and go without events of their own.
      if (!isCatalogOurs || parts.length > 1 || searchParams.get("runs") === "true") return null
      return parts[0]?.startsWith("run-") ? null : within(null, "branch", "table")
    case "tags":
      return isCatalogOurs && parts.length === 0 ? within(null, "tag", "table") : null
    default:
      return null
  }
}
