import { Data, Duration, Effect, type Redacted } from "effect"
import { FetchHttpClient, HttpClient, HttpClientRequest, type HttpMethod } from "effect/http"
import { SqlError } from "effect/sql"
import { parseLosslessJson, printLosslessJson } from "../iceberg/LosslessJson.ts"
import { outbound } from "../outbound/Outbound.ts"
import type { OutboundPolicy } from "../outbound/OutboundPolicy.ts"
import { verdicts } from "../outbound/Verdict.ts"

export interface NessieSettings {
  /** `http://host:port` of the server, or its `/api/v2`. */
  readonly url: string
  /** Bearer token. */
  readonly token?: Redacted.Redacted
  /** Of each try, instead of the policy's. */
  readonly timeout?: Duration.Input
  /** Limits that differ from the policy. */
  readonly limits?: Partial<OutboundPolicy>
}

/** Nessie's answer is no. `code` is its word, for example `REFERENCE_NOT_FOUND`. */
export class NessieRefused extends Data.TaggedError("NessieRefused")<{
  readonly status: number
  readonly code: string
  readonly message: string
}> {}

/** One try without an answer, or with one that says "later". */
class NessieFault extends Data.TaggedError("NessieFault")<{ readonly reason: string; readonly cause?: unknown }> {}

/** Answers that another try may change; all others are answers. */
const isLater = (status: number) => status === 429 || status >= 500

const parsed = (text: string): unknown => {
  try {
    return text === "" ? {} : parseLosslessJson(text)
  } catch {
    return undefined
  }
}

/**
 * The catalog's error of every method is `SqlError`, and what callers ask of it is whether it is an outage. One of Nessie is
 * told in the same words as one of Postgres (`ConnectionError`), so that runs wait, requests get 503, and health turns red.
 */
const unavailable = (endpoint: string, reason: string, cause: unknown) =>
  new SqlError.SqlError({
    reason: new SqlError.ConnectionError({
      cause,
      message: `The Nessie server at ${endpoint} gives no answer: ${reason} Start it, or correct RAT_NESSIE_URL.`,
      operation: "nessie",
    }),
  })

const isDenied = (status: number) => status === 401 || status === 403

/** A refusal that the caller has no use for. Trying again does not help. */
export const unexpected = (refused: NessieRefused): SqlError.SqlError => {
  const Reason = isDenied(refused.status) ? SqlError.AuthorizationError : SqlError.UnknownError
  const advice = isDenied(refused.status) ? " Check RAT_NESSIE_TOKEN and what it may do." : ""
  return new SqlError.SqlError({
    reason: new Reason({
      cause: refused,
      message: `Nessie refused a request (${refused.status} ${refused.code}): ${refused.message}${advice}`,
      operation: "nessie",
    }),
  })
}

export type NessieCall = (
  method: HttpMethod.HttpMethod,
  /** Below `/api/v2`, encoded. */
  path: string,
  body?: unknown,
) => Effect.Effect<unknown, NessieRefused | SqlError.SqlError>

/**
 * Requests to a Nessie server under the policy of `nessie`. A retried change may have happened before: whoever changes
 * something looks at what is there when it is refused.
 */
export const makeNessieClient = Effect.fnUntraced(function* (settings: NessieSettings) {
  const http = yield* HttpClient.HttpClient
  const endpoint = settings.url.replace(/\/+$/, "").replace(/\/api\/v[12]$/, "")
  const dependency = yield* outbound({
    dependency: "nessie",
    endpoint,
    verdict: (error) => (error instanceof NessieFault ? verdicts.outage : verdicts.answer),
    limits: {
      ...(settings.timeout === undefined ? {} : { deadline: Duration.fromInputUnsafe(settings.timeout) }),
      ...settings.limits,
    },
  })

  const attempt = Effect.fnUntraced(function* (request: HttpClientRequest.HttpClientRequest) {
    const response = yield* http.execute(request)
    const text = yield* response.text
    if (isLater(response.status)) {
      return yield* new NessieFault({ reason: `it answered ${response.status}.`, cause: text.slice(0, 500) })
    }
    const body = parsed(text)
    if (response.status < 300 && body !== undefined) return body
    // A page instead of JSON: some other server is there.
    if (body === undefined)
      return yield* new NessieFault({ reason: "what answered is no Nessie server.", cause: text.slice(0, 500) })
    const { errorCode, message } = body as { readonly errorCode?: string; readonly message?: string }
    return yield* new NessieRefused({
      status: response.status,
      code: errorCode ?? "UNKNOWN",
      message: message ?? "without a reason",
    })
  })

  const call: NessieCall = (method, path, body) => {
    const made = HttpClientRequest.make(method)(`${endpoint}/api/v2${path}`).pipe(HttpClientRequest.acceptJson)
    const withToken = settings.token === undefined ? made : HttpClientRequest.bearerToken(made, settings.token)
    const request =
      body === undefined
        ? withToken
        : HttpClientRequest.bodyText(withToken, printLosslessJson(body), "application/json")
    const once = attempt(request).pipe(
      Effect.catchTag("HttpClientError", (error) =>
        Effect.fail(new NessieFault({ reason: `${error.message}.`, cause: error })),
      ),
    )
    return dependency.call(`${method} ${path}`, once).pipe(
      Effect.catchTags({
        NessieFault: (fault) => Effect.fail(unavailable(endpoint, fault.reason, fault)),
        DependencyUnavailable: (silent) => Effect.fail(unavailable(endpoint, silent.detail, silent)),
      }),
      Effect.withSpan("Nessie.call", { attributes: { "http.method": method, "nessie.path": path } }),
    )
  }
  return call
})

export const nessieHttp = FetchHttpClient.layer
