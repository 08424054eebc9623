import { createServer, type Server } from "node:http"
import { NodeHttpServer } from "@effect/platform-node"
import { Api, HealthApi } from "@rat/domain"
import { Context, Duration, Effect, Layer, Predicate, Schema } from "effect"
import { HttpMiddleware, HttpRouter, HttpServer, type HttpServerRequest, HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiScalar } from "effect/http-api"
import { NetAddress } from "effect/net"
import { ResponseCache } from "../cache/ResponseCache.ts"
import type { BodyLimits } from "./BodyLimit.ts"
import { type Connections, trackConnections } from "./Connections.ts"
import { Drain } from "./Drain.ts"
import { edge } from "./Edge.ts"
import { encodeFilePath, pathOf } from "./FilePathRoute.ts"
import { routePattern } from "./Route.ts"

/** Somebody else listens at the address already. */
export class AddressInUse extends Schema.TaggedError<AddressInUse>()("AddressInUse", {
  host: Schema.String,
  port: Schema.Int,
}) {
  override get message() {
    return `Port ${this.port} is already in use on ${this.host}. Stop what listens there, or choose another address with --listen HOST:PORT (RAT_LISTEN_ADDR).`
  }
}

/** The address is not ours or not allowed. */
export class ListenFailed extends Schema.TaggedError<ListenFailed>()("ListenFailed", {
  host: Schema.String,
  port: Schema.Int,
  code: Schema.String,
}) {
  override get message() {
    const way = "Choose another one with --listen HOST:PORT (RAT_LISTEN_ADDR)."
    switch (this.code) {
      case "EACCES":
        return `Listening on port ${this.port} is not permitted; ports above 1023 usually are. ${way}`
      case "EADDRNOTAVAIL":
      case "ENOTFOUND":
        return `${this.host} is not an address of this machine. ${way}`
      default:
        return `Listening on ${this.host}:${this.port} failed (${this.code}). ${way}`
    }
  }
}

export interface ServerSettings {
  readonly host: string
  /** 0 takes a free port. */
  readonly port: number
  readonly corsOrigins: ReadonlyArray<string>
  readonly bodyLimits: BodyLimits
  /** How long requests that are being answered may take to finish when the server stops. */
  readonly stopGraceMs: number
}

/** Where the server listens, once it does. */
export class ServerAddress extends Context.Service<
  ServerAddress,
  { readonly host: string; readonly port: number; readonly url: string }
>()("rat/server/http/ServerAddress") {}

/** Connections without a request are kept this long: longer than usual clients and proxies keep theirs. */
const keepAliveMs = 65_000

/** `a/b/c` as one encoded parameter of at most 1,024 characters takes up to nine bytes a character. */
const maxParamLength = 10_000

/** Nobody needs a trace of these, and they are asked for every few seconds. */
const untracedPaths = new Set(["/health", "/health/live", "/health/ready", "/metrics"])

/** `GET /api/v1/runs/:runId` */
const spanName = ({ method, url }: HttpServerRequest.HttpServerRequest) =>
  `${method} ${routePattern(method, pathOf(encodeFilePath(url)))}`

const hostOf = (host: string) =>
  host === "0.0.0.0" || host === "::" ? "localhost" : host.includes(":") ? `[${host}]` : host

const httpServer = (settings: ServerSettings, server: Server) =>
  NodeHttpServer.layer(() => server, {
    host: settings.host,
    port: settings.port,
    gracefulShutdownTimeout: Duration.millis(settings.stopGraceMs),
  }).pipe(
    Layer.catch((error) => {
      const code = Predicate.hasProperty(error.cause, "code") ? String(error.cause.code) : "unknown"
      const { host, port } = settings
      const failure = code === "EADDRINUSE" ? new AddressInUse({ host, port }) : new ListenFailed({ host, port, code })
      return Layer.effectContext(Effect.fail(failure))
    }),
  )

const serve = (settings: ServerSettings, connections: Connections) =>
  Layer.effect(
    ServerAddress,
    Effect.gen(function* () {
      const router = yield* HttpRouter.HttpRouter
      const server = yield* HttpServer.HttpServer
      const drain = yield* Drain
      const cache = yield* Effect.serviceOption(ResponseCache)
      yield* server.serve(edge({ ...settings, drain, cache })(router.asHttpEffect()))
      // Runs before the server's own finalizer, which waits for the connections to end.
      yield* Effect.addFinalizer(() =>
        Effect.andThen(
          drain.begin,
          Effect.sync(() => {
            connections.closeIdle()
            setTimeout(connections.closeAll, settings.stopGraceMs).unref()
          }),
        ),
      )
      const address = server.address
      const port = NetAddress.isUnixPathAddress(address) ? settings.port : address.port
      return { host: settings.host, port, url: `http://${hostOf(settings.host)}:${port}` }
    }),
  )

/** Works offline: the page and its script come from the package. */
const docs = HttpApiScalar.layer(Api, { path: "/api/docs" })

const root = HttpRouter.add("GET", "/", HttpServerResponse.redirect("/api/docs", { status: 302 }))

/**
 * All routes of the contract, its OpenAPI document and the docs page. `groups` are the handlers, `extra` routes beside the
 * contract.
 */
export const apiRoutes = <A, E, R, E2, R2>(groups: Layer.Layer<A, E, R>, extra: Layer.Layer<never, E2, R2>) =>
  Layer.mergeAll(
    HttpApiBuilder.layer(Api, { openapiPath: "/api/openapi.json" }).pipe(Layer.provide(groups)),
    extra,
    docs,
    root,
  )

/** What a node without the role `api` answers: how it is. */
class NodeApi extends HttpApi.make("rat").add(HealthApi) {}

export const nodeRoutes = <A, E, R, E2, R2>(health: Layer.Layer<A, E, R>, extra: Layer.Layer<never, E2, R2>) =>
  Layer.merge(HttpApiBuilder.layer(NodeApi).pipe(Layer.provide(health)), extra)

/**
 * The HTTP server over `routes`. Stops in order: no new connections, event streams told, requests finished (bounded), then
 * whatever the handlers use.
 */
export const serverLayer = <E, R>(settings: ServerSettings, routes: Layer.Layer<never, E, R>) => {
  const server = createServer({ keepAliveTimeout: keepAliveMs })
  return serve(settings, trackConnections(server)).pipe(
    Layer.provide(routes),
    Layer.provide(HttpRouter.layer),
    Layer.provide(Layer.succeed(HttpRouter.RouterConfig, { maxParamLength, caseSensitive: true })),
    Layer.provide(
      Layer.succeed(HttpMiddleware.TracerDisabledWhen, (request) => untracedPaths.has(pathOf(request.url))),
    ),
    Layer.provide(Layer.succeed(HttpMiddleware.SpanNameGenerator, spanName)),
    Layer.provide(httpServer(settings, server)),
    Layer.provideMerge(Drain.layer),
  )
}
