import { Branches } from "./branch/Branches.ts"
import { Tags } from "./branch/Tags.ts"
import { Cluster } from "./cluster/Cluster.ts"
import { Events } from "./event/Events.ts"
import { Storage } from "./file/Storage.ts"
import { type RatClientOptions, Transport } from "./http/Transport.ts"
import { Landing } from "./landing/Landing.ts"
import { Maintenance } from "./maintenance/Maintenance.ts"
import { Namespaces } from "./namespace/Namespaces.ts"
import { Pipelines } from "./pipeline/Pipelines.ts"
import { Projects } from "./project/Projects.ts"
import { Queries } from "./query/Queries.ts"
import { Runs } from "./run/Runs.ts"
import { Features } from "./system/Features.ts"
import { Health } from "./system/Health.ts"
import { Tables } from "./table/Tables.ts"

/**
 * A RAT server, as Promises. Takes and gives the JSON of the HTTP contract; rejects with `RatError` and its classes.
 * Needs nothing but `fetch`: Node, browsers, workers.
 */
export class RatClient {
  readonly health: Health
  readonly features: Features
  readonly cluster: Cluster
  readonly namespaces: Namespaces
  readonly pipelines: Pipelines
  readonly storage: Storage
  readonly projects: Projects
  readonly landing: Landing
  readonly runs: Runs
  readonly query: Queries
  readonly tables: Tables
  readonly maintenance: Maintenance
  readonly branches: Branches
  readonly tags: Tags
  readonly events: Events
  /** Address of the server, without a slash at the end. */
  readonly apiUrl: string

  constructor(options: RatClientOptions = {}) {
    const transport = new Transport(options)
    this.apiUrl = transport.apiUrl
    this.health = new Health(transport)
    this.features = new Features(transport)
    this.cluster = new Cluster(transport)
    this.namespaces = new Namespaces(transport)
    this.pipelines = new Pipelines(transport)
    this.storage = new Storage(transport)
    this.projects = new Projects(transport)
    this.landing = new Landing(transport)
    this.runs = new Runs(transport)
    this.query = new Queries(transport)
    this.tables = new Tables(transport)
    this.maintenance = new Maintenance(transport)
    this.branches = new Branches(transport)
    this.tags = new Tags(transport)
    this.events = new Events(transport)
  }
}
