// What this instance is, and the page's wiring. Everything told is put in as text, never as HTML.
import { ask, instance, listen } from "/src/api.js";
import { add, complain, refresh } from "/src/notes.js";

const LOOK_MS = 5000;
const NAMES = {
  nginx: "nginx",
  dashboard: "Dashboard",
  vite: "Vite",
  opencode: "OpenCode",
  whatsapp: "WhatsApp",
  postgres: "PostgreSQL",
  minio_api: "S3",
};
const LINKS = { Dashboard: "/dashboard/", OpenCode: "/opencode/", "WhatsApp QR": "/qr" };

const live = document.getElementById("live");
const composer = document.getElementById("composer");
const text = document.getElementById("text");
let described = "";

function make(kind, ...children) {
  const element = document.createElement(kind);
  element.append(...children);
  return element;
}

function describe(about) {
  const state = JSON.stringify(about);
  if (state === described) return;
  described = state;
  const branch = about.branch ?? "no branch";
  document.title = `${about.id} · ${branch}`;
  document.getElementById("branch").textContent = branch;
  document.getElementById("root").textContent = about.root;
  const facts = { Database: about.database, Bucket: about.bucket, Backend: about.backend };
  document.getElementById("facts").replaceChildren(
    ...Object.entries(facts).flatMap(([name, value]) => [make("dt", name), make("dd", value)]),
  );
  document.getElementById("ports").replaceChildren(
    ...Object.entries(about.ports).map(([name, port]) => make("div", make("dt", NAMES[name] ?? name), make("dd", String(port)))),
  );
  document.getElementById("links").replaceChildren(...links(about));
  document.getElementById("empty").textContent = `Nothing here yet. What you write stays in ${about.database}.`;
}

// Opened on Vite's own port, the page sends people to nginx, where every service is in its place.
function links({ ports, whatsapp }) {
  const direct = location.port === String(ports.vite) && ports.nginx;
  const origin = direct ? `${location.protocol}//${location.hostname}:${ports.nginx}` : "";
  return Object.entries(LINKS)
    .filter(([name]) => whatsapp || !name.startsWith("WhatsApp"))
    .map(([name, path]) => {
      const link = make("a", name);
      link.href = origin + path;
      return link;
    });
}

function state(word) {
  live.dataset.state = word;
  live.textContent = word === "live" ? "live" : "waiting for the dashboard";
}

async function look() {
  if (document.hidden) return;
  try {
    describe(await ask("/api/instance"));
  } catch (error) {
    state("away");
    if (!described) document.getElementById("branch").textContent = error.message;
  }
}

composer.addEventListener("submit", async (event) => {
  event.preventDefault();
  const written = text.value.trim();
  if (written && (await add(written))) text.value = "";
  text.focus();
});
text.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  composer.requestSubmit();
});

document.title = `Instance ${instance}`;
listen(() => refresh().then(() => complain(null), complain), state);
document.addEventListener("visibilitychange", look);
setInterval(look, LOOK_MS);
look();
