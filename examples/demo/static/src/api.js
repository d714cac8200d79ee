// Questions to the dashboard, and the certainty that it is this instance's own.
export const instance = document.documentElement.dataset.instance;

export class Fault extends Error {}

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { cache: "no-store", ...options });
  } catch {
    throw new Fault("The dashboard does not answer.");
  }
  const from = answer.headers.get("X-Orienter-Instance");
  if (from !== null && from !== instance) throw new Fault(`Instance ${from} answered for instance ${instance}.`);
  const told = answer.status === 204 ? null : await answer.json().catch(() => null);
  if (!answer.ok) throw new Fault(told?.error ?? `The dashboard answered ${answer.status}.`);
  return told;
}

const AGAIN_MS = 2000;

// Calls `changed` for each event and `told` with "live" or "away". A hidden page does not listen:
// a browser keeps only six connections to a host, and each listener holds one.
export function listen(changed, told) {
  let stream = null;
  let timer = 0;

  function close() {
    clearTimeout(timer);
    stream?.close();
    stream = null;
  }

  function open() {
    close();
    if (document.hidden) return;
    stream = new EventSource("/api/events");
    stream.addEventListener("notes", () => {
      told("live");
      changed();
    });
    stream.addEventListener("error", () => {
      told("away");
      if (stream?.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN_MS);
    });
  }

  document.addEventListener("visibilitychange", open);
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
}
