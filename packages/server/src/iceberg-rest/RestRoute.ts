/**
 * The endpoints of the protocol (Iceberg REST catalog, `open-api/rest-catalog-open-api.yaml`), and which of them a request's
 * address belongs to. Addresses are taken apart here and not by the server's router: the prefix may be absent or have
 * several parts, and every name has to be decoded exactly once.
 */

const endpoints = {
  getConfig: "GET /v1/config",
  getToken: "POST /v1/oauth/tokens",
  listNamespaces: "GET /v1/{prefix}/namespaces",
  createNamespace: "POST /v1/{prefix}/namespaces",
  loadNamespace: "GET /v1/{prefix}/namespaces/{namespace}",
  namespaceExists: "HEAD /v1/{prefix}/namespaces/{namespace}",
  dropNamespace: "DELETE /v1/{prefix}/namespaces/{namespace}",
  updateProperties: "POST /v1/{prefix}/namespaces/{namespace}/properties",
  listTables: "GET /v1/{prefix}/namespaces/{namespace}/tables",
  createTable: "POST /v1/{prefix}/namespaces/{namespace}/tables",
  registerTable: "POST /v1/{prefix}/namespaces/{namespace}/register",
  loadTable: "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}",
  tableExists: "HEAD /v1/{prefix}/namespaces/{namespace}/tables/{table}",
  commitTable: "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}",
  dropTable: "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}",
  unregisterTable: "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/unregister",
  loadCredentials: "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/credentials",
  signRequest: "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/sign",
  reportMetrics: "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/metrics",
  planScan: "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/plan",
  fetchPlan: "GET /v1/{prefix}/namespaces/{namespace}/tables/{table}/plan/{plan-id}",
  cancelPlan: "DELETE /v1/{prefix}/namespaces/{namespace}/tables/{table}/plan/{plan-id}",
  fetchTasks: "POST /v1/{prefix}/namespaces/{namespace}/tables/{table}/tasks",
  renameTable: "POST /v1/{prefix}/tables/rename",
  commitTransaction: "POST /v1/{prefix}/transactions/commit",
  listViews: "GET /v1/{prefix}/namespaces/{namespace}/views",
  createView: "POST /v1/{prefix}/namespaces/{namespace}/views",
  registerView: "POST /v1/{prefix}/namespaces/{namespace}/register-view",
  loadView: "GET /v1/{prefix}/namespaces/{namespace}/views/{view}",
  viewExists: "HEAD /v1/{prefix}/namespaces/{namespace}/views/{view}",
  replaceView: "POST /v1/{prefix}/namespaces/{namespace}/views/{view}",
  dropView: "DELETE /v1/{prefix}/namespaces/{namespace}/views/{view}",
  renameView: "POST /v1/{prefix}/views/rename",
} as const

export type RouteName = keyof typeof endpoints

/** As `GET /v1/config` lists them. */
export const endpointList: ReadonlyArray<string> = Object.values(endpoints)

interface Route {
  readonly name: RouteName
  readonly method: string
  readonly hasPrefix: boolean
  /** Segments behind `/v1` and the prefix; `{…}` matches anything. */
  readonly segments: ReadonlyArray<string>
}

const routes: ReadonlyArray<Route> = Object.entries(endpoints).map(([name, endpoint]) => {
  const [method, path] = endpoint.split(" ") as [string, string]
  const segments = path.split("/").slice(2)
  const hasPrefix = segments[0] === "{prefix}"
  return { name: name as RouteName, method, hasPrefix, segments: hasPrefix ? segments.slice(1) : segments }
})

/** Where the part behind a prefix may begin. */
const keywords = new Set(routes.filter((route) => route.hasPrefix).map((route) => route.segments[0]!))

const matches = (route: Route, raw: ReadonlyArray<string>) =>
  route.segments.length === raw.length &&
  route.segments.every((segment, index) => segment.startsWith("{") || segment === raw[index])

export interface FoundRoute {
  readonly name: RouteName
  /** Decoded; null: none given, so main. */
  readonly prefix: string | null
  /** Decoded values of `{namespace}`, `{table}`, …, by their name. */
  readonly names: Readonly<Record<string, string>>
}

/** What an address is not good for: nothing has it, other methods have it, or its escapes are broken. */
export type RouteMiss =
  | { readonly miss: "unknown" }
  | { readonly miss: "method"; readonly allowed: ReadonlyArray<string> }
  | { readonly miss: "escapes" }

const decode = (raw: string): string | null => {
  try {
    return decodeURIComponent(raw)
  } catch {
    return null
  }
}

/**
 * Some clients escape a prefix that is escaped already, and some proxies refuse `%2F`: the unit separator, or a second round of
 * escapes, stand for the same. No ref's name holds any of these characters, so nothing is ambiguous.
 */
const decodePrefix = (raw: string): string | null => {
  const once = decode(raw)
  const twice = once?.includes("%") ? decode(once) : once
  return twice === null || twice === undefined ? null : twice.replaceAll("\u001f", "/").replace(/^~/, "")
}

/** The prefix under which a branch or tag is addressed: safe in a path as it is. `~` keeps a ref called `namespaces` apart. */
export const prefixOf = (ref: string): string => (keywords.has(ref) ? `~${ref}` : ref.replaceAll("/", "%1F"))

/** @param path path of the request behind `/iceberg`, still escaped */
export const findRoute = (method: string, path: string): FoundRoute | RouteMiss => {
  const raw = path.split("/").slice(1)
  if (raw.at(-1) === "") raw.pop()
  if (raw[0] !== "v1") return { miss: "unknown" }
  const rest = raw.slice(1)
  // The prefix ends where the first word of an endpoint stands; none before it means main.
  const start = rest.findIndex((segment) => keywords.has(segment))
  const behind = start === -1 ? [] : rest.slice(start)
  const found = routes.filter((route) => matches(route, route.hasPrefix ? behind : rest))
  if (found.length === 0) return { miss: "unknown" }
  const route = found.find((candidate) => candidate.method === method)
  if (route === undefined) return { miss: "method", allowed: [...new Set(found.map((each) => each.method))].sort() }
  const names: Record<string, string> = {}
  for (const [index, segment] of route.segments.entries()) {
    if (!segment.startsWith("{")) continue
    const value = decode(behind[index]!)
    if (value === null) return { miss: "escapes" }
    names[segment.slice(1, -1)] = value
  }
  if (!route.hasPrefix || start === 0) return { name: route.name, prefix: null, names }
  const prefix = decodePrefix(rest.slice(0, start).join("/"))
  return prefix === null ? { miss: "escapes" } : { name: route.name, prefix, names }
}
