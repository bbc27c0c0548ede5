// The operator's buttons on the page of a line. The token stays in this tab.
"use strict";
(() => {
  const place = document.getElementById("operator");
  if (!place) return;
  const { agent, line } = place.dataset;
  const said = JSON.parse(place.dataset.said);
  const kept = { token: sessionStorage, by: localStorage };
  document.body.classList.add("acts");

  const requests = {
    acknowledge: (form) => [`/api/v1/lines/${agent}/${line}/acknowledge`, { by: form.by.value, note: form.note.value }],
    measure: () => [`/api/v1/agents/${agent}/commands`, { name: "measure", line, wait_s: 60 }],
    maintenance: (form) => {
      const until = new Date(Date.now() + Number(form.hours.value) * 3600000).toISOString();
      return ["/api/v1/maintenance", { agent, line, until, by: form.by.value, why: form.why.value }];
    },
  };

  async function send(dialog, form) {
    const [path, body] = requests[dialog.id](form.elements);
    const headers = { "Authorization": `Bearer ${form.elements.token.value}`, "Content-Type": "application/json" };
    const asking = { method: "POST", headers, body: JSON.stringify(body), signal: AbortSignal.timeout(75000) };
    const answer = await fetch(path, asking).catch(() => { throw new Error(said.unreachable); });
    if (!answer.ok) {
      const { error } = await answer.json().catch(() => ({ error: { what: `${answer.status} ${answer.statusText}` } }));
      if (answer.status === 401) sessionStorage.removeItem("token");
      const words = [error.what, error.allowed].filter(Boolean).join(" · ");
      throw new Error(said[`${dialog.id} ${answer.status}`] ?? said[answer.status] ?? words);
    }
    for (const [name, storage] of Object.entries(kept)) if (form.elements[name]) storage.setItem(name, form.elements[name].value);
    if (dialog.id === "measure") expectDone(await answer.json(), form);
  }

  function expectDone({ outcome, detail, reply }, form) {
    if (reply?.ok) return;
    if (outcome === "waiting") throw new Error(form.dataset.late);
    throw new Error(said[reply?.error ?? outcome] ?? reply?.detail ?? detail ?? outcome);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-opens]");
    if (!button) return;
    const dialog = document.getElementById(button.dataset.opens);
    const form = dialog.querySelector("form");
    for (const [name, storage] of Object.entries(kept)) if (form.elements[name]) form.elements[name].value = storage.getItem(name) ?? "";
    dialog.querySelector(".said").textContent = "";
    dialog.showModal();
  });

  for (const dialog of place.querySelectorAll("dialog")) {
    dialog.querySelector("form").addEventListener("submit", (event) => {
      if (event.submitter?.value !== "send") return;
      event.preventDefault();
      event.submitter.disabled = true;
      send(dialog, event.target)
        .then(() => { dialog.close(); location.reload(); }, (error) => { dialog.querySelector(".said").textContent = error.message; })
        .finally(() => { event.submitter.disabled = false; });
    });
  }
})();
