import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { findRoute, prefixOf } from "./RestRoute.ts"

const refName = fc
  .tuple(
    fc.constantFrom("a", "Z", "namespaces", "tables", "views", "transactions", "v1"),
    fc.string({ unit: fc.constantFrom("a", "Z", "0", ".", "/", "_", "-"), maxLength: 20 }),
  )
  .map(([first, rest]) => first + rest)

describe("routes of the Iceberg REST protocol", () => {
  it("every ref is found again under its prefix, as it is, escaped and escaped twice", () => {
    fc.assert(
      fc.property(refName, fc.string({ minLength: 1 }), fc.string({ minLength: 1 }), (ref, namespace, table) => {
        fc.pre(namespace.isWellFormed() && table.isWellFormed())
        const names = { namespace, table }
        const tail = `namespaces/${encodeURIComponent(namespace)}/tables/${encodeURIComponent(table)}`
        const prefix = prefixOf(ref)
        for (const form of [prefix, prefix.replaceAll("%1F", "%2F"), encodeURIComponent(prefix)]) {
          assert.deepStrictEqual(findRoute("GET", `/v1/${form}/${tail}`), { name: "loadTable", prefix: ref, names })
        }
      }),
    )
  })

  it("a prefix of several parts is taken as it is, none means main", () => {
    assert.deepStrictEqual(findRoute("GET", "/v1/team/x/namespaces"), {
      name: "listNamespaces",
      prefix: "team/x",
      names: {},
    })
    assert.deepStrictEqual(findRoute("GET", "/v1/namespaces/"), { name: "listNamespaces", prefix: null, names: {} })
  })

  it.each([
    ["GET", "/v1/main", { miss: "unknown" }],
    ["GET", "/v2/config", { miss: "unknown" }],
    ["GET", "/v1/namespaces/a/b/c", { miss: "unknown" }],
    ["GET", "/v1/namespaces/%E0%A4%A", { miss: "escapes" }],
    ["GET", "/v1/%ff/namespaces", { miss: "escapes" }],
    ["PUT", "/v1/namespaces", { miss: "method", allowed: ["GET", "POST"] }],
  ] as const)("%s %s is nothing", (method, path, miss) => {
    assert.deepStrictEqual(findRoute(method, path) as unknown, miss)
  })
})
