// The list of notes: newest first, one element for each, kept while its note stays the same.
import { Fault, ask } from "/src/api.js";

const LARGEST = 10 * 1024 * 1024;
const SURE_MS = 3000;

const list = document.getElementById("list");
const empty = document.getElementById("empty");
const fault = document.getElementById("fault");
const template = document.getElementById("note");
const shown = new Map();
let asked = 0;

export function complain(error) {
  fault.textContent = error ? error.message : "";
}

export async function refresh() {
  const turn = ++asked;
  const { notes } = await ask("/api/notes");
  if (turn !== asked) return;
  const wanted = new Set(notes.map((note) => note.id));
  for (const [id, entry] of shown) {
    if (wanted.has(id)) continue;
    entry.element.remove();
    shown.delete(id);
  }
  for (const note of notes) show(note);
  empty.hidden = notes.length > 0;
  list.hidden = notes.length === 0;
}

// Notes come oldest first and are never reordered, so a new one belongs on top.
function show(note) {
  const state = JSON.stringify(note);
  const known = shown.get(note.id);
  if (known?.state === state) return;
  const element = known?.element ?? create(note.id);
  fill(element, note);
  if (!known) list.prepend(element);
  shown.set(note.id, { element, state });
}

function create(id) {
  const element = template.content.firstElementChild.cloneNode(true);
  const input = element.querySelector("input");
  const remove = element.querySelector(".delete");
  input.addEventListener("change", () => attach(id, input.files[0]).finally(() => (input.value = "")));
  remove.addEventListener("click", () => (remove.classList.contains("sure") ? drop(id) : makeSure(remove)));
  element.addEventListener("dragover", (event) => {
    event.preventDefault();
    element.classList.add("over");
  });
  element.addEventListener("dragleave", () => element.classList.remove("over"));
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    element.classList.remove("over");
    attach(id, event.dataTransfer.files[0]);
  });
  return element;
}

function fill(element, { id, text, attachment }) {
  const address = `/api/notes/${id}/attachment`;
  const file = element.querySelector(".file");
  const preview = element.querySelector(".preview");
  const picture = attachment !== null && attachment.type.startsWith("image/");
  element.querySelector(".text").textContent = text;
  element.querySelector(".attach span").textContent = attachment ? "Replace file" : "Attach a file";
  file.hidden = attachment === null;
  preview.hidden = !picture;
  if (attachment === null) return;
  file.href = preview.href = address;
  file.textContent = `${attachment.type}, ${size(attachment.size)}`;
  if (picture) preview.firstElementChild.src = `${address}?${Date.now()}`;
}

function makeSure(button) {
  button.classList.add("sure");
  button.textContent = "Really delete";
  setTimeout(() => {
    button.classList.remove("sure");
    button.textContent = "Delete";
  }, SURE_MS);
}

export function add(text) {
  return change(ask("/api/notes", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ text }),
  }));
}

function drop(id) {
  return change(ask(`/api/notes/${id}`, { method: "DELETE" }));
}

function attach(id, file) {
  if (!file) return Promise.resolve();
  if (file.size > LARGEST) return change(Promise.reject(new Fault("Files up to 10 MB can be attached.")));
  return change(ask(`/api/notes/${id}/attachment`, {
    method: "PUT",
    headers: { "Content-Type": file.type || "application/octet-stream" },
    body: file,
  }));
}

// The answer to a change is the list as it is now; true when all went well.
async function change(answer) {
  try {
    await answer;
    complain(null);
    await refresh();
    return true;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    complain(error);
    return false;
  }
}

function size(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}
