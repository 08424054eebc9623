import { assert, describe, it } from "@effect/vitest"
import { OpenApi } from "effect/http-api"
import { Api } from "./Api.ts"

const spec = OpenApi.fromApi(Api)
const operations = Object.entries(spec.paths).flatMap(([path, methods]) =>
  Object.entries(methods as Record<string, { readonly summary?: string }>).map(([method, { summary }]) => ({
    name: `${method.toUpperCase()} ${path}`,
    summary,
  })),
)

describe("Api", () => {
  it("is OpenAPI 3.1, and every operation says in a line what it does", () => {
    assert.strictEqual(spec.openapi, "3.1.0")
    assert.deepStrictEqual(
      operations.filter(({ summary }) => !summary).map(({ name }) => name),
      [],
    )
  })

  it("keeps the ancestor's paths and methods", () => {
    assert.includeMembers(
      operations.map(({ name }) => name),
      [
        "GET /health",
        "GET /health/live",
        "GET /health/ready",
        "GET /api/v1/features",
        "GET /api/v1/namespaces",
        "POST /api/v1/namespaces",
        "PUT /api/v1/namespaces/{name}",
        "DELETE /api/v1/namespaces/{name}",
        "GET /api/v1/pipelines",
        "POST /api/v1/pipelines",
        "GET /api/v1/pipelines/{namespace}/{layer}/{name}",
        "PUT /api/v1/pipelines/{namespace}/{layer}/{name}",
        "DELETE /api/v1/pipelines/{namespace}/{layer}/{name}",
        "GET /api/v1/runs",
        "POST /api/v1/runs",
        "GET /api/v1/runs/{runId}",
        "POST /api/v1/runs/{runId}/cancel",
        "GET /api/v1/runs/{runId}/logs",
        "GET /api/v1/files",
        "POST /api/v1/files/upload",
        "POST /api/v1/query",
        "GET /api/v1/schema",
        "GET /api/v1/tables",
        "GET /api/v1/tables/{namespace}/{layer}/{name}",
        "GET /api/v1/tables/{namespace}/{layer}/{name}/preview",
        "PUT /api/v1/tables/{namespace}/{layer}/{name}/metadata",
        "GET /api/v1/landing-zones",
        "POST /api/v1/landing-zones",
        "GET /api/v1/landing-zones/{namespace}/{name}",
        "PUT /api/v1/landing-zones/{namespace}/{name}",
        "DELETE /api/v1/landing-zones/{namespace}/{name}",
        "GET /api/v1/landing-zones/{namespace}/{name}/files",
        "POST /api/v1/landing-zones/{namespace}/{name}/files",
        "GET /api/v1/landing-zones/{namespace}/{name}/files/{fileId}",
        "DELETE /api/v1/landing-zones/{namespace}/{name}/files/{fileId}",
      ],
    )
  })
})
