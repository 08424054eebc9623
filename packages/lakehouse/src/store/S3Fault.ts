import { StoreFault } from "./Resilience.ts"

/** What the SDK throws, as far as it is looked at. */
interface Thrown {
  readonly name?: string
  readonly code?: string
  readonly message?: string
  readonly $metadata?: { readonly httpStatusCode?: number }
}

export interface S3Place {
  /** Host that was asked. */
  readonly endpoint: string
  readonly bucket: string
  readonly region: string
}

const refusals: { readonly [name: string]: (place: S3Place) => string } = {
  NoSuchBucket: ({ bucket }) => `bucket "${bucket}" does not exist. Create it, or set S3_BUCKET to one that does.`,
  InvalidAccessKeyId: ({ endpoint }) => `${endpoint} does not know the access key. Check S3_ACCESS_KEY.`,
  SignatureDoesNotMatch: ({ endpoint }) => `${endpoint} refused the signature. Check S3_SECRET_KEY and S3_REGION.`,
  AccessDenied: ({ bucket }) =>
    `these credentials may not do this in bucket "${bucket}". Give them the right to get, put, list and delete, or change S3_ACCESS_KEY and S3_SECRET_KEY.`,
  ExpiredToken: () => "the session token has expired. Set a new S3_SESSION_TOKEN.",
  PermanentRedirect: ({ bucket, region }) =>
    `bucket "${bucket}" is not in region ${region}. Set S3_REGION to its region.`,
  AuthorizationHeaderMalformed: ({ bucket, region }) =>
    `bucket "${bucket}" is not in region ${region}. Set S3_REGION to its region.`,
  RequestTimeTooSkewed: ({ endpoint }) =>
    `the clocks of this machine and of ${endpoint} differ too much. Set the clock.`,
  CredentialsProviderError: () => "no credentials were found. Set S3_ACCESS_KEY and S3_SECRET_KEY.",
  XMinioStorageFull: ({ endpoint }) => `the disks of ${endpoint} are full. Free some space there.`,
  QuotaExceeded: ({ bucket }) => `the quota of bucket "${bucket}" is used up. Raise it.`,
}

/** Answers of the server that heal by themselves, beside every 5xx. */
const transientNames = new Set([
  "SlowDown",
  "RequestTimeout",
  "TooManyRequests",
  "ThrottlingException",
  "OperationAborted",
  "ConditionalRequestConflict",
  "BadDigest",
  "XAmzContentChecksumMismatch",
])

const unreachable: { readonly [code: string]: (endpoint: string) => string } = {
  ECONNREFUSED: (endpoint) => `nothing listens at ${endpoint}. Start the object store, or correct S3_ENDPOINT.`,
  ENOTFOUND: (endpoint) => `the host name of ${endpoint} is not known. Correct S3_ENDPOINT, or check the name server.`,
  EAI_AGAIN: (endpoint) => `the name server did not resolve ${endpoint}. Check the network.`,
  ECONNRESET: (endpoint) => `${endpoint} closed the connection.`,
  EPROTO: (endpoint) => `${endpoint} does not speak TLS as expected. Check S3_USE_SSL and S3_ENDPOINT.`,
}

export const statusOf = (thrown: unknown): number => (thrown as Thrown | undefined)?.$metadata?.httpStatusCode ?? 0
export const nameOf = (thrown: unknown): string => (thrown as Thrown | undefined)?.name ?? ""

/** The object (not the bucket) is not there. */
export const isMissingObject = (thrown: unknown): boolean =>
  nameOf(thrown) === "NoSuchKey" ||
  nameOf(thrown) === "NotFound" ||
  (statusOf(thrown) === 404 && nameOf(thrown) !== "NoSuchBucket" && nameOf(thrown) !== "NoSuchUpload")

/** Translates what a call threw. Answers below 500 are no outage of the endpoint; silence and 5xx are. */
export const s3Fault = (place: S3Place, thrown: unknown): StoreFault => {
  if (thrown instanceof StoreFault) return thrown
  const { code = "", message = "" } = thrown as Thrown
  const status = statusOf(thrown)
  const name = nameOf(thrown)
  const refusal = refusals[name] ?? (status === 403 ? refusals.AccessDenied : undefined)
  if (refusal !== undefined) {
    return new StoreFault({ reason: refusal(place), transient: false, outage: false, cause: thrown })
  }
  if (status >= 300 && status < 500 && status !== 429 && status !== 408 && !transientNames.has(name)) {
    const reason = `${place.endpoint} refused it with status ${status} ${name}: ${message}`
    return new StoreFault({ reason, transient: false, outage: false, cause: thrown })
  }
  if (status >= 300) {
    const reason = `${place.endpoint} answered with status ${status} ${name}. Check its log.`
    return new StoreFault({ reason, transient: true, outage: true, cause: thrown })
  }
  const reason = (
    unreachable[code] ?? ((endpoint) => `the connection to ${endpoint} failed (${message || name || code}).`)
  )(place.endpoint)
  return new StoreFault({ reason, transient: true, outage: true, cause: thrown })
}
