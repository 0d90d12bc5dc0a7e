// Parts of a page that keep themselves fresh, every data-jl-every seconds:
//   <div data-jl-live="URL">                       replaced by what the URL answers;
//   <div data-jl-live data-jl-parts="#a, #b">      the page itself is asked, and these parts of it are replaced.
// Old data is never shown as fresh: the line [data-jl-fresh] turns into a warning when an answer fails or is missed.
(() => {
  "use strict";

  const live = (part) => {
    const every = Number(part.dataset.jlEvery) * 1000;
    const parts = (part.dataset.jlParts || "").split(",").filter(Boolean);
    let last = Date.now();
    let failure = "";
    let asking = false;

    const line = () => (part.matches("[data-jl-fresh]") ? part : part.querySelector("[data-jl-fresh]"));

    const mark = () => {
      const fresh = line();
      const old = Date.now() - last > 2.5 * every;
      if (!fresh) return;
      fresh.classList.toggle("jl-old", old || failure !== "");
      const note = fresh.querySelector("[data-jl-note]");
      const text = failure || (old ? "dados antigos: a página não está conseguindo se atualizar" : "");
      if (note && note.textContent !== text) note.textContent = text;
    };

    // Whoever moves by keyboard stays where they are: the link or button of the same address gets the focus back.
    const keepingFocus = (change) => {
      const held = document.activeElement;
      const address = held && held.getAttribute && held.getAttribute("href");
      change();
      if (!address || document.contains(held)) return;
      const again = [...document.querySelectorAll("a[href]")].find((each) => each.getAttribute("href") === address);
      if (again) again.focus({ preventScroll: true });
    };

    const show = (html) => {
      if (!parts.length) {
        part.innerHTML = html;
        return;
      }
      const page = new DOMParser().parseFromString(html, "text/html");
      for (const each of ["[data-jl-clock]", ...parts]) {
        const [mine, theirs] = [document.querySelector(each), page.querySelector(each)];
        if (Boolean(mine) !== Boolean(theirs)) return location.reload(); // a list became empty, or is no longer
        if (mine) mine.innerHTML = theirs.innerHTML;
      }
    };

    const refresh = async () => {
      if (document.hidden || asking) return;
      asking = true;
      try {
        const answer = await fetch(part.dataset.jlLive || location.href, {
          headers: { "X-Requested-With": "fetch" },
          signal: AbortSignal.timeout(8000),
        });
        if (answer.redirected || answer.status === 403) {
          failure = "dados antigos: sua sessão terminou, recarregue a página para entrar de novo";
        } else if (!answer.ok) {
          failure = `dados antigos: o servidor respondeu com erro ${answer.status}`;
        } else {
          const html = await answer.text();
          keepingFocus(() => show(html));
          last = Date.now();
          failure = "";
        }
      } catch {
        failure = "dados antigos: o servidor não respondeu";
      }
      asking = false;
      mark();
    };

    setInterval(refresh, every);
    setInterval(mark, 1000);
    document.addEventListener("visibilitychange", refresh);
  };

  document.addEventListener("DOMContentLoaded", () => {
    document.querySelectorAll("[data-jl-live]").forEach(live);
  });
})();
