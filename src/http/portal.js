// Looks whether what the page shows still is, counts the time down, and leaves whoever types alone.
// Without it the page loads itself again, or has a link that does.
"use strict";
(() => {
  const main = document.querySelector("main");
  const clock = document.querySelector("time");
  const lost = document.querySelector(".lost");
  const fields = [...document.querySelectorAll("input[name=code]")];
  let again = Number(main.dataset.again);
  let ends = clock ? Date.now() + 1000 * Number(clock.dataset.left) : 0;
  let misses = 0;

  const typing = () => fields.some((field) => field.value !== "");

  const tick = () => {
    if (!clock) return;
    const left = Math.max(0, Math.round((ends - Date.now()) / 1000));
    clock.textContent = `${Math.floor(left / 60)}:${String(left % 60).padStart(2, "0")}`;
  };

  const look = async () => {
    try {
      const given = new AbortController();
      const timer = setTimeout(() => given.abort(), 5000);
      const answer = await fetch("/state", { cache: "no-store", credentials: "omit", signal: given.signal });
      clearTimeout(timer);
      if (!answer.ok) throw new Error(String(answer.status));
      const state = await answer.json();
      misses = 0;
      lost.hidden = true;
      // What is typed is of use for as long as a code is.
      if (state.key !== main.dataset.key && !(state.code && typing())) {
        location.replace("/");
        return;
      }
      again = state.again;
      if (state.left !== null) ends = Date.now() + 1000 * state.left;
    } catch {
      misses += 1;
      if (misses >= 3) lost.hidden = false;
    }
    if (again) setTimeout(look, 1000 * again);
  };

  setInterval(tick, 500);
  if (again) setTimeout(look, 1000 * again);
})();
