import { post, Refused } from "/assets/api.js";

const form = document.getElementById("who");
const field = document.getElementById("name");
const problem = document.getElementById("problem");

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  problem.textContent = "";
  try {
    await post("/api/name", { name: field.value });
    location.assign("/");
  } catch (error) {
    problem.textContent = error instanceof Refused ? error.message : "The server does not answer. Is it still running?";
    field.focus();
  }
});

// Disabled in the markup: before somebody listens, Enter would send the form itself, which the page's policy refuses.
form.querySelector("button").disabled = false;
