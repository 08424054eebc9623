import { mainRef } from "@rat/domain"
import { Effect } from "effect"
import { keyLifetime } from "./Idempotency.ts"
import type { RefScope } from "./RefScope.ts"
import { jsonAnswer, type RestCall } from "./RestCall.ts"
import { refuse } from "./RestFailure.ts"
import { endpointList, prefixOf } from "./RestRoute.ts"

/**
 * `GET /v1/config`: what clients ask first. Their "warehouse" is the branch or tag to work on; it becomes the prefix of all further
 * addresses. Without one they work on main.
 */
export const makeCatalogConfig = (refs: RefScope) =>
  Effect.fnUntraced(function* (call: RestCall) {
    const warehouse = call.query.get("warehouse") ?? ""
    const ref = yield* refs.named(warehouse === "" ? null : warehouse)
    if (ref !== mainRef) {
      yield* refs
        .exists(ref)
        .pipe(
          Effect.catchTag("RefNotFound", (missing) =>
            Effect.fail(
              refuse(
                "NoSuchWarehouseException",
                `${missing.message} The warehouse is the name of a branch or tag, or main.`,
              ),
            ),
          ),
        )
    }
    return jsonAnswer({
      defaults: {},
      overrides: {
        ...(warehouse === "" ? {} : { prefix: prefixOf(ref) }),
      },
      endpoints: endpointList,
      "idempotency-key-lifetime": keyLifetime,
    })
  })
