const form = document.getElementById("form");
const inside = document.getElementById("inside");
const title = document.getElementById("title");
const fault = document.getElementById("fault");
const password = document.getElementById("password");
const invitation = title.textContent;

async function look() {
  const answer = await fetch("/api/auth/validate", { cache: "no-store" });
  form.hidden = answer.ok;
  inside.hidden = !answer.ok;
  title.textContent = answer.ok ? "You are signed in" : invitation;
}

async function send(path, document) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(document),
  });
  const told = await answer.json().catch(() => ({}));
  fault.textContent = answer.ok ? "" : (told.error ?? `The dashboard answered ${answer.status}.`);
  await look();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  await send("/api/auth/login", { password: password.value });
  password.value = "";
});
document.getElementById("leave").addEventListener("click", () => send("/api/auth/logout", {}));
look();
