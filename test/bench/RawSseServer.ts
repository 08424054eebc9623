/** What the bench compares with: a bare server of node:http that writes each message to all of its open responses. */
import { fork } from "node:child_process"
import { createServer, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { fileURLToPath } from "node:url"
import { ask } from "./SseReaders.ts"

type Command = { readonly kind: "start" } | { readonly kind: "write"; readonly frame: string }

const serve = () => {
  const responses = new Set<ServerResponse>()
  const server = createServer((_request, response) => {
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-cache" })
    response.write(": open\n\n")
    responses.add(response)
    response.on("close", () => responses.delete(response))
  })
  process.on("message", (command: Command) => {
    if (command.kind === "start") {
      server.listen(0, "127.0.0.1", () => process.send?.({ answer: (server.address() as AddressInfo).port }))
    } else {
      const bytes = Buffer.from(command.frame)
      for (const response of responses) response.write(bytes)
      process.send?.({ answer: null })
    }
  })
}

export const startRawSse = async () => {
  const child = fork(fileURLToPath(import.meta.url), ["raw"])
  const port = await ask<number>(child, { kind: "start" })
  return {
    port,
    pid: child.pid!,
    write: (frame: string) => ask<null>(child, { kind: "write", frame }),
    stop: () => child.kill(),
  }
}

if (process.argv[2] === "raw") serve()
