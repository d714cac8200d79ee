// Vite's place. It transforms the page when it is first asked for it, which takes a moment.
import http from "node:http"
import { parseArgs } from "node:util"

const { values } = parseArgs({ options: { strictPort: { type: "boolean" }, host: { type: "string" } } })
let transformed
const server = http.createServer(async (request, response) => {
  if (request.url !== "/@vite/client") {
    transformed ??= new Promise((resolve) => setTimeout(resolve, 300))
    await transformed
  }
  response.setHeader("Content-Type", "text/html")
  response.end(`<title>instance ${process.env.AI_INSTANCE_ID}</title>`)
})
server.listen({ port: Number(process.env.VITE_PORT), host: values.host })
