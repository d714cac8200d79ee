// What the programs have in common: how long they take, and the instance's database and bucket.
import http from "node:http"
import { setTimeout } from "node:timers/promises"
import { AwsClient } from "aws4fetch"
import pg from "pg"

export const id = process.env.AI_INSTANCE_ID

// Work as long as STAND_IN_SECONDS says: half of it on a core, which no other process can have meanwhile, half waiting.
export async function work(name: string): Promise<void> {
  const milliseconds = 1000 * (JSON.parse(process.env.STAND_IN_SECONDS ?? "{}")[name] ?? 0)
  const before = process.cpuUsage()
  for (let used = 0; used < milliseconds / 2; ) {
    const { user, system } = process.cpuUsage(before)
    used = (user + system) / 1000
  }
  await setTimeout(milliseconds / 2)
}

export async function query(text: string, values: unknown[] = []): Promise<any[]> {
  const client = new pg.Client({ connectionString: process.env.DATABASE_URL })
  await client.connect()
  try {
    return (await client.query(text, values)).rows
  } finally {
    await client.end()
  }
}

export async function object(key: string, body?: string): Promise<string> {
  const { AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL, S3_BUCKET } = process.env
  const client = new AwsClient({
    accessKeyId: AWS_ACCESS_KEY_ID!,
    secretAccessKey: AWS_SECRET_ACCESS_KEY!,
    region: AWS_REGION,
    service: "s3",
  })
  const method = body === undefined ? "GET" : "PUT"
  const answer = await client.fetch(`${AWS_ENDPOINT_URL}/${S3_BUCKET}/${key}`, { method, body })
  if (!answer.ok) throw new Error(`${method} ${key}: ${answer.status} ${await answer.text()}`)
  return await answer.text()
}

// Like the app, it listens on every address, whatever it is told.
export function serve(port: string, answer: (path: string) => Promise<unknown>): void {
  const server = http.createServer(async (request, response) => {
    try {
      const found = await answer(request.url ?? "/")
      const text = typeof found === "string"
      response.setHeader("Content-Type", text ? "text/html" : "application/json")
      response.writeHead(found === undefined ? 404 : 200)
      response.end(text ? found : JSON.stringify(found ?? "there is no such page"))
    } catch (error) {
      response.writeHead(500).end(String(error))
    }
  })
  server.listen(Number(port), "0.0.0.0", () => console.log(`listening on ${port}`))
}
