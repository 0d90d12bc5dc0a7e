// A part of a page that keeps itself fresh: <div data-jl-live="URL" data-jl-every="10">.
// Old data is never shown as fresh: after two missed answers the line above it turns into a warning.
(() => {
  "use strict";

  const live = (part) => {
    const every = Number(part.dataset.jlEvery) * 1000;
    let last = Date.now();
    let failure = "";

    const mark = () => {
      const fresh = part.querySelector("[data-jl-fresh]");
      const old = Date.now() - last > 2.5 * every;
      if (!fresh) return;
      fresh.classList.toggle("jl-old", old || failure !== "");
      const note = fresh.querySelector("[data-jl-note]");
      if (note) note.textContent = failure || (old ? "dados antigos: a página não está conseguindo se atualizar" : "");
    };

    const refresh = async () => {
      if (document.hidden) return;
      try {
        const answer = await fetch(part.dataset.jlLive, {
          headers: { "X-Requested-With": "fetch" },
          signal: AbortSignal.timeout(8000),
        });
        if (answer.redirected || answer.status === 403) {
          failure = "sua sessão terminou: recarregue a página para entrar de novo";
        } else if (!answer.ok) {
          failure = `o servidor respondeu com erro ${answer.status}; estes dados são antigos`;
        } else {
          part.innerHTML = await answer.text();
          last = Date.now();
          failure = "";
        }
      } catch {
        failure = "sem resposta do servidor; estes dados são antigos";
      }
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
