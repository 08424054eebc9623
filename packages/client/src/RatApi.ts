import { Api } from "@rat/domain"
import { Context, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { HttpApiClient } from "effect/http-api"
import { type RatClientOptions, Transport } from "./http/Transport.ts"

/**
 * A RAT server, as Effects: every endpoint of the contract with decoded answers and the contract's own errors.
 * Time limits, retries and headers are those of `RatClient`.
 */
export class RatApi extends Context.Service<RatApi, HttpApiClient.ForApi<typeof Api>>()("rat/client/RatApi") {
  static readonly layer = (options: RatClientOptions = {}): Layer.Layer<RatApi> => {
    const transport = new Transport(options)
    const fetch: typeof globalThis.fetch = (input, init) =>
      transport.fetch(input instanceof Request ? input.url : String(input), init ?? {})
    return Layer.effect(RatApi, HttpApiClient.make(Api, { baseUrl: transport.apiUrl })).pipe(
      Layer.provide(FetchHttpClient.layer),
      Layer.provide(Layer.succeed(FetchHttpClient.Fetch, fetch)),
    )
  }
}
