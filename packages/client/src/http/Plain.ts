import type { Api } from "@rat/domain"
import type { Brand, DateTime, Schema } from "effect"
import type { HttpApi, HttpApiEndpoint, HttpApiGroup } from "effect/http-api"

/**
 * The JSON form of a contract type: times as RFC 3339 text, integers beyond 2^53 as text, names as plain strings,
 * classes as objects. This is what the Promise client takes and gives.
 */
export type Plain<T> = T extends DateTime.DateTime | bigint
  ? string
  : T extends string & Brand.Brand<string>
    ? string
    : T extends string | number | boolean | null | undefined
      ? T
      : Schema.Json extends T
        ? Schema.Json
        : T extends ReadonlyArray<infer Item>
          ? ReadonlyArray<Plain<Item>>
          : { readonly [K in keyof T as T[K] extends (...args: never) => unknown ? never : K]: Plain<T[K]> }

type Groups = typeof Api extends HttpApi.HttpApi<infer _Id, infer G> ? G : never

export type GroupName = HttpApiGroup.Identifier<Groups>

type EndpointsOf<G extends GroupName> = HttpApiGroup.Endpoints<HttpApiGroup.WithIdentifier<Groups, G>>

export type EndpointName<G extends GroupName> = HttpApiEndpoint.Identifier<EndpointsOf<G>>

type EndpointOf<G extends GroupName, E extends EndpointName<G>> = HttpApiEndpoint.WithIdentifier<EndpointsOf<G>, E>

type TypeOf<S> = S extends { readonly Type: infer T } ? T : never

/** Body of an endpoint's answer. */
export type Answer<G extends GroupName, E extends EndpointName<G>> = Plain<
  TypeOf<HttpApiEndpoint.Success<EndpointOf<G, E>>>
>

/** Query parameters of an endpoint; `limit` and `offset`, which are text on the wire, as numbers. */
export type Query<G extends GroupName, E extends EndpointName<G>> = NumbersOf<
  Plain<TypeOf<HttpApiEndpoint.Query<EndpointOf<G, E>>>>
>

type NumbersOf<Q> = { readonly [K in keyof Q]: K extends "limit" | "offset" ? number | undefined : Q[K] }

/** Body that an endpoint takes. */
export type Payload<G extends GroupName, E extends EndpointName<G>> = Plain<
  TypeOf<HttpApiEndpoint.Payload<EndpointOf<G, E>>>
>
