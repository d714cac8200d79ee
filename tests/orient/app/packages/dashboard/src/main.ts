import fs from "node:fs/promises"
import { id, object, query, serve, work } from "../../core/src/stand-in.ts"

await work("dashboard")
serve(process.env.DASHBOARD_PORT!, async (path) => {
  if (path === "/api/auth/setup-required") return { required: false }
  if (path === "/api/messages") {
    const rows = await query("SELECT text FROM messages")
    const secret = process.env.SIGNATURE ?? null
    return { id, messages: rows.map((row) => row.text), object: await object("seed.txt"), secret }
  }
  const app = /^\/apps\/(\w+)\/$/.exec(path)
  if (app !== null) return await fs.readFile(`../../apps/${app[1]}/dist/index.html`, "utf8")
})
