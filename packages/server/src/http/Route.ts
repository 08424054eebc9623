import { Api } from "@rat/domain"

/** One route of the contract; segments that begin with `:` match anything. */
interface Route {
  readonly method: string
  /** `/api/v1/runs/:runId` */
  readonly pattern: string
  readonly segments: ReadonlyArray<string>
}

const segmentsOf = (path: string): ReadonlyArray<string> => path.split("/").filter((segment) => segment !== "")

const routes: ReadonlyArray<Route> = Object.values(Api.groups).flatMap((group) =>
  Object.values(group.endpoints).map((endpoint: { readonly method: string; readonly path: string }) => ({
    method: endpoint.method,
    pattern: endpoint.path,
    segments: segmentsOf(endpoint.path),
  })),
)

/** Routes by their number of segments: most of the others need no look. */
const byLength = Map.groupBy(routes, (route) => route.segments.length)

const matching = (path: string): ReadonlyArray<Route> => {
  const segments = segmentsOf(path)
  return (byLength.get(segments.length) ?? []).filter((route) =>
    route.segments.every((segment, index) => segment.startsWith(":") || segment === segments[index]),
  )
}

/** Methods that the contract has for a path; empty for unknown paths. */
export const methodsOf = (path: string): ReadonlyArray<string> =>
  [...new Set(matching(path).map((route) => route.method))].sort()

/** The pattern that a request belongs to, for labels: paths are without number, patterns are not. */
export const routePattern = (method: string, path: string): string => {
  const found = matching(path)
  const literal = found.find((route) => route.method === method && !route.pattern.includes(":"))
  return literal?.pattern ?? found.find((route) => route.method === method)?.pattern ?? "other"
}
