import { newKey, post, Refused } from "/assets/api.js";

const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;
const problem = document.getElementById("problem");

for (const form of document.querySelectorAll("form.settle")) {
  const key = newKey();
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const chosen = form.querySelector("select").value;
    const label = /^\d+$/.test(chosen) ? Number(chosen) : null;
    try {
      await post("/api/adjudications", {
        run: meta("run"),
        page: meta("page"),
        key,
        region: form.dataset.region,
        answer: label === null ? chosen : "class",
        label,
        shown: [...Array(Number(form.dataset.shown)).keys()],
        crossed: [],
      });
      location.reload();
    } catch (error) {
      problem.textContent = error instanceof Refused ? error.message : "Not saved: the server does not answer.";
      problem.scrollIntoView();
    }
  });
  form.querySelector("button").disabled = false; // as on the name page, nobody listened before
}
