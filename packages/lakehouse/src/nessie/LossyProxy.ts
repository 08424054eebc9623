import { createServer, request } from "node:http"
import type { AddressInfo } from "node:net"

/** Stands before a server and loses the answers of changes: the first one of each change. Test support only. */
export const startLossyProxy = async (target: string) => {
  const { hostname, port } = new URL(target)
  const lost: Array<string> = []
  const seen = new Set<string>()
  const server = createServer((incoming, outgoing) => {
    const chunks: Array<Buffer> = []
    incoming.on("data", (chunk) => chunks.push(chunk))
    incoming.on("end", () => {
      const body = Buffer.concat(chunks)
      const what = `${incoming.method} ${incoming.url} ${body}`
      const isChange = incoming.method !== "GET" && !incoming.url!.endsWith("/contents")
      const forwarded = request(
        { hostname, port, path: incoming.url, method: incoming.method, headers: incoming.headers },
        (answer) => {
          if (isChange && !seen.has(what)) {
            seen.add(what)
            lost.push(`${incoming.method} ${answer.statusCode}`)
            answer.resume()
            return outgoing.destroy()
          }
          outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
          answer.pipe(outgoing)
        },
      )
      forwarded.on("error", () => outgoing.destroy())
      forwarded.end(body)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    /** Changes whose answer was lost, with the answer's status. */
    lost: lost as ReadonlyArray<string>,
    stop: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
