import { Api } from "@rat/domain"
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { wired, wireError } from "../http/ErrorEnvelope.ts"

/** Without authentication there is nobody to name; clients read 401 as "no login here", as with the ancestor. */
export const IdentityHttp = HttpApiBuilder.group(Api, "identity", (handlers) =>
  handlers.handle("me", () => wired(Effect.fail(wireError(401, "Nobody is logged in: this server has no accounts.")))),
)
