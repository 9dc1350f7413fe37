// The live feed, the demo, the pause button and the copy buttons. Everything else works
// without this script. What a record says is text that strangers chose: it goes
// into the page by textContent and setAttribute with fixed names, never as HTML.
"use strict";

for (const button of document.querySelectorAll("button[data-copy]")) {
  if (!navigator.clipboard) continue;
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.parentNode.querySelector("code").textContent);
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = "Copy"; }, 1500);
  });
}

const table = document.getElementById("rows");
if (table && table.dataset.follow) follow(table);

const tale = document.getElementById("tale");
if (tale && !tale.dataset.over) tell(tale);

// tell follows a demo: its steps come one by one, each with its sentence.
function tell(tale) {
  const light = document.getElementById("feed");
  const said = document.getElementById("said");
  const states = ["allow", "deny", "failed", "note"];
  const source = new EventSource(tale.dataset.follow);

  function show(state, text) {
    light.className = "feed " + state;
    document.getElementById("feed-text").textContent = text;
  }

  function build(data) {
    const step = document.getElementById("step").content.firstElementChild.cloneNode(true);
    const state = states.includes(data.State) ? data.State : "note";
    const record = Number(data.Record);
    const link = step.querySelector(".by a");
    step.classList.add(state, "new");
    step.querySelector(".minute").textContent = Number(data.Minute) + "′";
    step.querySelector(".state").classList.add(state);
    step.querySelector("use").setAttribute("href", "#i-" + state);
    step.querySelector(".state > span").textContent = data.Word;
    step.querySelector(".did b bdi").textContent = data.Actor;
    step.querySelector(".did > span > bdi").textContent = data.Did;
    step.querySelector(".why bdi").textContent = data.Why;
    step.querySelector(".by code").textContent = data.Prove;
    link.setAttribute("href", "/trail/" + record);
    link.textContent = "record " + record;
    if (data.Record === null) link.remove();
    if (data.Prove === "") step.querySelector(".by code").remove();
    return step;
  }

  source.onopen = () => show("on", "Live");
  if (tale.querySelector(".step")) scrollTo({ top: document.documentElement.scrollHeight });
  source.onmessage = (event) => {
    const data = JSON.parse(event.data);
    const below = document.documentElement.scrollHeight - innerHeight - scrollY;
    document.getElementById("empty")?.remove();
    if (data.Opens) {
      const scene = document.getElementById("scene").content.firstElementChild.cloneNode(true);
      scene.firstElementChild.textContent = data.Scene;
      tale.append(scene);
    }
    tale.append(build(data));
    said.textContent = data.Actor + " " + data.Did + ": " + data.Word;
    if (below < 160) scrollTo({ top: document.documentElement.scrollHeight });
  };
  source.addEventListener("over", (event) => {
    source.close();
    show("still", event.data);
  });
  source.onerror = () => {
    if (source.readyState === EventSource.CLOSED) show("off", "Ended. Reload to see why.");
    else show("off", "Connection lost. Trying again.");
  };
  light.hidden = false;
}

function follow(table) {
  const maxRows = 200;
  const maxWaiting = 1000;
  const states = ["allow", "alter", "deny", "observed", "failed", "begun", "interrupted", "note"];
  const counters = { allow: "n-allow", alter: "n-allow", deny: "n-deny", observed: "n-observed" };
  const body = table.tBodies[0];
  const form = document.getElementById("row");
  const light = document.getElementById("feed");
  const pause = document.getElementById("pause");
  const said = document.getElementById("said");
  let source = null;
  let last = "";        // the id of the newest message
  let paused = false;
  let waiting = [];     // rows that came since the last frame, or since the pause
  let frame = 0;
  let news = 0;         // rows that nobody was told of yet

  function show(state, text) {
    light.className = "feed " + state;
    document.getElementById("feed-text").textContent = text;
  }

  function open() {
    const url = new URL(table.dataset.follow, location.href);
    if (last !== "") url.searchParams.set("after", String(Number(last) + 1));
    source = new EventSource(url);
    source.onopen = () => show(paused ? "still" : "on", paused ? "Paused" : "Live");
    source.onmessage = (event) => {
      last = event.lastEventId;
      waiting.push(JSON.parse(event.data));
      if (waiting.length > maxWaiting) waiting.shift();
      schedule();
    };
    source.addEventListener("away", (event) => show("off", event.data + " Trying again."));
    source.addEventListener("over", (event) => {
      source.close();
      source = null;
      show("off", event.data);
    });
    source.onerror = () => {
      if (source && source.readyState === EventSource.CLOSED) show("off", "Ended. Reload to see why.");
      else if (!light.classList.contains("off")) show("off", "Connection lost. Trying again.");
    };
  }

  function schedule() {
    if (paused) pause.textContent = "Resume (" + waiting.length + ")";
    else if (!frame) frame = requestAnimationFrame(insert);
  }

  function insert() {
    frame = 0;
    if (waiting.length === 0) return;
    const fresh = document.createDocumentFragment();
    const empty = document.getElementById("empty");
    for (const data of waiting) {
      fresh.prepend(build(data));
      if (empty && (data.verb === "model.infer" || table.hidden)) empty.remove();
      const counter = document.getElementById(counters[data.state]);
      if (counter) counter.textContent = String(Number(counter.textContent) + 1);
    }
    news += waiting.length;
    waiting = [];
    body.prepend(fresh);
    while (body.rows.length > maxRows) body.deleteRow(-1);
    table.hidden = false;
    draw();
  }

  function build(data) {
    const row = form.content.firstElementChild.cloneNode(true);
    const state = states.includes(data.state) ? data.state : "note";
    const index = Number(data.index);
    row.classList.add(state, "new");
    row.dataset.at = String(Date.parse(data.at));
    row.dataset.state = state;
    const time = row.querySelector("time");
    time.setAttribute("datetime", data.at);
    time.textContent = data.clock;
    row.querySelector(".state").classList.add(state);
    row.querySelector("use").setAttribute("href", "#i-" + state);
    row.querySelector(".state > span").textContent = data.word;
    row.querySelector(".who bdi").textContent = data.who;
    row.querySelector(".who small").textContent = data.sort;
    const link = row.querySelector(".verb a");
    link.setAttribute("href", "/trail/" + index);
    link.setAttribute("aria-label", "Trail of record " + index + ", " + data.verb);
    link.firstElementChild.textContent = data.verb;
    row.querySelector(".verb small bdi").textContent = data.thing;
    row.querySelector(".why bdi").textContent = data.reason;
    row.querySelector(".took").textContent = data.took;
    return row;
  }

  // draw moves the bars on, as newSparkline in live.go draws them.
  function draw() {
    const spark = document.getElementById("spark");
    const all = spark.querySelectorAll(".all");
    const no = spark.querySelectorAll(".no");
    const width = Number(spark.dataset.bucket);
    const end = Math.floor(Date.now() / width) + 1;
    const count = new Array(all.length).fill(0);
    const denied = new Array(all.length).fill(0);
    for (const row of body.rows) {
      const i = all.length - (end - Math.floor(Number(row.dataset.at) / width));
      if (i < 0 || i >= all.length) continue;
      count[i]++;
      if (row.dataset.state === "deny") denied[i]++;
    }
    const most = Math.max(4, ...count);
    document.getElementById("n-rate").textContent = String(count.reduce((sum, n) => sum + n, 0));
    for (let i = 0; i < all.length; i++) {
      const high = Math.ceil(count[i] * 40 / most);
      all[i].setAttribute("y", String(40 - high));
      all[i].setAttribute("height", String(high));
      no[i].setAttribute("y", String(40 - high));
      no[i].setAttribute("height", String(Math.ceil(denied[i] * 40 / most)));
    }
  }

  pause.addEventListener("click", () => {
    paused = !paused;
    pause.setAttribute("aria-pressed", String(paused));
    pause.textContent = paused ? "Resume" : "Pause";
    if (source) show(paused ? "still" : "on", paused ? "Paused" : "Live");
    if (!paused) insert();
  });

  // A browser opens few connections to one host: a tab that nobody sees gives
  // its own back.
  document.addEventListener("visibilitychange", () => {
    if (document.hidden && source) {
      source.close();
      source = null;
    } else if (!document.hidden && !source && !light.classList.contains("off")) {
      open();
    }
  });

  setInterval(draw, 2000);
  setInterval(() => {
    if (news > 0) said.textContent = news === 1 ? "1 new record" : news + " new records";
    news = 0;
  }, 10000);

  light.hidden = false;
  pause.hidden = false;
  open();
}
