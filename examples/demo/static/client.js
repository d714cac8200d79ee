// Loads the page anew when one of its files was changed in this checkout.
const LOOK_MS = 1500;
let known = null;

async function look() {
  if (document.hidden) return;
  const answer = await fetch("/@vite/version", { cache: "no-store" }).catch(() => null);
  if (!answer?.ok) return;
  const version = await answer.text();
  if (known !== null && version !== known) location.reload();
  known = version;
}

setInterval(look, LOOK_MS);
look();
