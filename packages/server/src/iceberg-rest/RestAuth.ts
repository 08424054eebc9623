import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import { Clock, Config, Context, Effect, Layer, Option, Redacted } from "effect"
import { HttpServerResponse } from "effect/http"
import { type RestFailure, refuse } from "./RestFailure.ts"

/** How long a token of `oauth/tokens` is good. */
const tokenSeconds = 3600

const equals = (left: string, right: string): boolean =>
  timingSafeEqual(createHash("sha256").update(left).digest(), createHash("sha256").update(right).digest())

const sign = (secret: string, payload: string) => createHmac("sha256", secret).update(payload).digest("base64url")

/** A token says when it ends and carries no state, so every node with the same credential accepts it. */
const makeToken = (credential: string, expiresAtMs: number): string => {
  const payload = `rat1.${expiresAtMs.toString(36)}`
  return `${payload}.${sign(credential, payload)}`
}

const tokenState = (credential: string, token: string, nowMs: number): "good" | "expired" | "foreign" => {
  const [version, expires, signature] = token.split(".")
  if (version !== "rat1" || expires === undefined || signature === undefined) return "foreign"
  if (!equals(signature, sign(credential, `${version}.${expires}`))) return "foreign"
  return Number.parseInt(expires, 36) > nowMs ? "good" : "expired"
}

const oauthError = (status: 400 | 401, error: string, description: string) =>
  HttpServerResponse.jsonUnsafe({ error, error_description: description }, { status })

const basicOf = (header: string | undefined): readonly [string, string] | null => {
  const encoded = /^basic\s+(\S+)$/i.exec(header ?? "")?.[1]
  if (encoded === undefined) return null
  const text = Buffer.from(encoded, "base64").toString("utf8")
  const colon = text.indexOf(":")
  return colon === -1 ? null : [text.slice(0, colon), text.slice(colon + 1)]
}

/**
 * Who may use the Iceberg REST endpoint: whoever shows the bearer token `RAT_ICEBERG_TOKEN`, or a token that was given for the
 * client credential `RAT_ICEBERG_CREDENTIAL` (`id:secret`). When neither is set it is as open as the rest of the API.
 */
export class RestAuth extends Context.Service<
  RestAuth,
  {
    readonly check: (authorization: string | undefined) => Effect.Effect<void, RestFailure>
    /** `POST /v1/oauth/tokens` (RFC 6749 section 4.4, RFC 8693 for renewing a token). */
    readonly token: (
      form: URLSearchParams,
      authorization: string | undefined,
    ) => Effect.Effect<HttpServerResponse.HttpServerResponse>
  }
>()("rat/server/iceberg-rest/RestAuth") {
  static readonly layer = Layer.effect(
    RestAuth,
    Effect.gen(function* () {
      const read = (name: string) =>
        Effect.map(Config.option(Config.Redacted(name)), (value) => {
          const text = Option.match(value, { onNone: () => "", onSome: Redacted.value })
          return text === "" ? null : text
        })
      const fixed = yield* read("RAT_ICEBERG_TOKEN")
      const credential = yield* read("RAT_ICEBERG_CREDENTIAL")

      const check = Effect.fnUntraced(function* (authorization: string | undefined) {
        if (fixed === null && credential === null) return
        const token = /^bearer\s+(\S+)$/i.exec(authorization ?? "")?.[1]
        if (token === undefined) {
          return yield* refuse(
            "NotAuthorizedException",
            "A bearer token is needed. Set `token`, or `credential` (id:secret) in the client's catalog properties.",
          )
        }
        if (fixed !== null && equals(token, fixed)) return
        const state = credential === null ? "foreign" : tokenState(credential, token, yield* Clock.currentTimeMillis)
        if (state === "good") return
        return yield* refuse(
          "NotAuthorizedException",
          state === "expired" ? "The token has expired. Ask for a new one." : "The token is not valid here.",
        )
      })

      const given = Effect.fnUntraced(function* (isRenewal: boolean) {
        const now = yield* Clock.currentTimeMillis
        return HttpServerResponse.jsonUnsafe({
          access_token: makeToken(credential ?? "", now + tokenSeconds * 1000),
          token_type: "bearer",
          expires_in: tokenSeconds,
          ...(isRenewal ? { issued_token_type: "urn:ietf:params:oauth:token-type:access_token" } : {}),
        })
      })

      const token = Effect.fnUntraced(function* (form: URLSearchParams, authorization: string | undefined) {
        if (credential === null) {
          return oauthError(400, "invalid_request", "This server gives no tokens: RAT_ICEBERG_CREDENTIAL is not set.")
        }
        switch (form.get("grant_type")) {
          case "client_credentials": {
            const [id, secret] = basicOf(authorization) ?? [
              form.get("client_id") ?? "",
              form.get("client_secret") ?? "",
            ]
            return equals(`${id}:${secret}`, credential)
              ? yield* given(false)
              : oauthError(401, "invalid_client", "Client id or secret is wrong.")
          }
          case "urn:ietf:params:oauth:grant-type:token-exchange": {
            const state = tokenState(credential, form.get("subject_token") ?? "", yield* Clock.currentTimeMillis)
            return state === "good"
              ? yield* given(true)
              : oauthError(400, "invalid_grant", "The token to be renewed is not valid any more.")
          }
          default:
            return oauthError(
              400,
              "unsupported_grant_type",
              "Use client_credentials, or token-exchange to renew a token.",
            )
        }
      })

      return RestAuth.of({ check, token })
    }),
  )
}
