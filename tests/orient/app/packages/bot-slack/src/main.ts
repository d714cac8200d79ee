import { id } from "../../core/src/stand-in.ts"

console.log(`the workspace of ${process.env.SLACK_BOT_TOKEN} is connected to instance ${id}: ${process.env.SIGNATURE}`)
setInterval(() => {}, 1000)
