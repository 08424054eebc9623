import { Api } from "@rat/domain"
import type { Answer, EndpointName, GroupName } from "./Plain.ts"
import { errorOfResponse, ServerError, ValidationError } from "./RatError.ts"
import { resilientFetch } from "./ResilientFetch.ts"

/** How a client reaches its server. Every field but `apiUrl` has a default. */
export interface RatClientOptions {
  /** Address of the server; default `http://127.0.0.1:8080`. */
  readonly apiUrl?: string
  /** Longest wait for an answer, per try, in milliseconds; default 30,000. */
  readonly timeoutMs?: number
  /** Further tries of idempotent requests after transient failures; default 3. */
  readonly maxRetries?: number
  /** Wait before the first retry in milliseconds, doubled each time; default 500. */
  readonly retryDelayMs?: number
  /** Sent with every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** In place of the global one. */
  readonly fetch?: typeof globalThis.fetch
}

/** For one call; wins over the client's options. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs?: number | undefined
  readonly maxRetries?: number | undefined
}

/** Parts of one request, by the contract's names. */
export interface RequestParts {
  readonly params?: Readonly<Record<string, string>>
  readonly query?: Readonly<Record<string, string | number | boolean | undefined>>
  /** JSON, or `FormData` for uploads. */
  readonly payload?: unknown
  readonly headers?: Readonly<Record<string, string | undefined>>
}

export const defaultApiUrl = "http://127.0.0.1:8080"

const encodeSegment = (name: string, value: string): string => {
  // Dot segments survive encoding and would be resolved away by URL parsing: another resource would answer.
  if (value === "" || value === "." || value === "..") {
    throw new ValidationError({ status: 0, code: "INVALID_ARGUMENT", message: `"${value}" is not a valid ${name}.` })
  }
  return encodeURIComponent(value)
}

/** Fills the `:name` parts of a contract path. Only `:path` keeps its slashes. */
const fillPath = (path: string, params: Readonly<Record<string, string>>): string =>
  path.replace(/:(\w+)/g, (_, name: string) => {
    const value = params[name] ?? ""
    const segments = name === "path" ? value.split("/") : [value]
    return segments.map((segment) => encodeSegment(name, segment)).join("/")
  })

/** Sends requests that the contract describes; method and path come from `Api`, never from here. */
export class Transport {
  readonly apiUrl: string
  readonly #options: RatClientOptions

  constructor(options: RatClientOptions) {
    this.apiUrl = (options.apiUrl ?? defaultApiUrl).replace(/\/+$/, "")
    this.#options = options
  }

  /** A `fetch` with this client's headers, time limits and retries. */
  readonly fetch = (url: string, init: RequestInit, call: CallOptions = {}): Promise<Response> => {
    const headers = new Headers(init.headers)
    for (const [name, value] of Object.entries(this.#options.headers ?? {})) headers.set(name, value)
    return resilientFetch(
      this.#options.fetch ?? globalThis.fetch,
      {
        timeoutMs: call.timeoutMs ?? this.#options.timeoutMs ?? 30_000,
        maxRetries: call.maxRetries ?? this.#options.maxRetries ?? 3,
        retryDelayMs: this.#options.retryDelayMs ?? 500,
      },
      url,
      { ...init, headers },
    )
  }

  /** The answer as it comes; rejects with a `RatError` unless its status is 2xx or among `accept`. */
  async send<G extends GroupName, E extends EndpointName<G>>(
    group: G,
    name: E,
    parts: RequestParts,
    call: CallOptions = {},
    accept: ReadonlyArray<number> = [],
  ): Promise<Response> {
    const endpoint = (Api.groups as unknown as Record<string, { endpoints: Record<string, ContractEndpoint> }>)[group]!
      .endpoints[name]!
    const url = new URL(this.apiUrl + fillPath(endpoint.path, parts.params ?? {}))
    for (const [key, value] of Object.entries(parts.query ?? {})) {
      if (value !== undefined) url.searchParams.append(key, String(value))
    }
    const headers = new Headers({ accept: "application/json" })
    for (const [key, value] of Object.entries(parts.headers ?? {})) {
      if (value !== undefined) headers.set(key, value)
    }
    const init: RequestInit = { method: endpoint.method, headers, signal: call.signal ?? null }
    if (parts.payload instanceof FormData) init.body = parts.payload
    else if (parts.payload !== undefined) {
      headers.set("content-type", "application/json")
      init.body = JSON.stringify(parts.payload)
    }
    const response = await this.fetch(url.href, init, call)
    if (response.ok || accept.includes(response.status)) return response
    throw await errorOfResponse(response, `${endpoint.method} ${url.pathname}`)
  }

  /** The answer's JSON body, typed by the contract. Fields that a newer server adds are kept. */
  async json<G extends GroupName, E extends EndpointName<G>>(
    group: G,
    name: E,
    parts: RequestParts,
    call?: CallOptions,
    accept?: ReadonlyArray<number>,
  ): Promise<Answer<G, E>> {
    const response = await this.send(group, name, parts, call, accept)
    if (response.status === 204) return undefined as Answer<G, E>
    const text = await response.text()
    try {
      return JSON.parse(text) as Answer<G, E>
    } catch (cause) {
      throw new ServerError({
        status: response.status,
        code: "BAD_ANSWER",
        message: `${response.url} answered ${response.status} with something that is not JSON. Is it a RAT server?`,
        cause,
      })
    }
  }
}

interface ContractEndpoint {
  readonly method: string
  readonly path: string
}
