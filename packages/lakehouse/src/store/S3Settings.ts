import { Redacted } from "effect"
import type { OutboundPolicy } from "../outbound/OutboundPolicy.ts"
import type { StoreTimeouts } from "./Resilience.ts"

export interface S3Settings {
  /** URL of a server that speaks the S3 protocol, addressed in path style; absent: AWS. */
  readonly endpoint?: string
  readonly region: string
  /** Made when it does not exist. */
  readonly bucket: string
  /** Absent: what the machine offers (roles, profiles, AWS_* variables). */
  readonly credentials?: {
    readonly accessKey: Redacted.Redacted
    readonly secretKey: Redacted.Redacted
    readonly sessionToken?: Redacted.Redacted
  }
  /** Instead of those of the policy. */
  readonly timeouts?: StoreTimeouts
  /** Folder for local copies and the most bytes they may take. */
  readonly cache: { readonly folder: string; readonly maxBytes: number }
  /** Objects above this travel in parts of this size (S3 wants at least 5 MiB); 8 MiB unless told. */
  readonly partBytes?: number
  /** Limits that differ from the policy. */
  readonly limits?: Partial<OutboundPolicy>
}

/** Credentials as the SDK takes them; nothing where there are none: then it asks the machine. */
export const clientCredentials = ({ credentials }: S3Settings) =>
  credentials === undefined
    ? {}
    : {
        credentials: {
          accessKeyId: Redacted.value(credentials.accessKey),
          secretAccessKey: Redacted.value(credentials.secretKey),
          ...(credentials.sessionToken === undefined ? {} : { sessionToken: Redacted.value(credentials.sessionToken) }),
        },
      }
