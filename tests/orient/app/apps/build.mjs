// Builds the app in the working directory: a bundler's place.
import fs from "node:fs"

fs.mkdirSync("dist", { recursive: true })
fs.cpSync("src", "dist", { recursive: true })
fs.copyFileSync("index.html", "dist/index.html")
fs.appendFileSync("dist/builds", "built\n")
