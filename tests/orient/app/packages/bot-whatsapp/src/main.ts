import { id, query, serve, work } from "../../core/src/stand-in.ts"

await work("whatsapp")
serve(process.env.WHATSAPP_PORT!, async (path) => {
  if (path === "/health") return { ok: true }
  if (path === "/qr") {
    const [{ count }] = await query("SELECT count(*)::int FROM messages")
    return { id, count, secret: process.env.SIGNATURE }
  }
})
