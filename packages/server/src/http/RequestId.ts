import { Context } from "effect"

/** Id of the request that is being answered: the caller's `X-Request-ID` or a new one. Empty outside of a request. */
export const RequestId = Context.Reference<string>("rat/server/http/RequestId", { defaultValue: () => "" })
