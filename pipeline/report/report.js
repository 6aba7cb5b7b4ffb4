"use strict";
(function () {
  const main = document.querySelector("main");
  const duration = Number(main.dataset.duration);
  const sounds = Array.from(document.querySelectorAll(".sounds audio"));
  const bar = document.querySelector(".bar");
  const play = document.querySelector(".play");
  const seek = document.querySelector(".seek");
  const now = document.querySelector(".now");
  const trouble = document.querySelector(".trouble");
  const choices = Array.from(document.querySelectorAll(".tracks button"));
  const timed = Array.from(document.querySelectorAll(".timed"));
  const scroller = document.querySelector(".scroller");
  if (!sounds.length) return;

  let chosen = 0;
  let wanted = false; // whether the listener wants to hear something, while a switch is under way too
  let position = Number(seek.value); // seconds of the song

  // shown by a server: the page of the cover has a button for each of these
  const served = /^(.*)\/v1\/covers\/(\w+)\/report$/.exec(location.pathname);
  if (served) {
    for (const action of document.querySelectorAll(".action[data-kind=settings], .action[data-kind=recordings]")) {
      const link = document.createElement("a");
      link.href = served[1] + "/#/covers/" + served[2];
      link.textContent = action.dataset.label;
      action.replaceChildren(link);
    }
  }

  const start = (sound) => Number(sound.dataset.start);
  const clock = (seconds) => {
    const whole = Math.floor(seconds);
    const two = (value) => String(value).padStart(2, "0");
    const minutes = Math.floor(whole / 60);
    return minutes < 60 ? minutes + ":" + two(whole % 60) : Math.floor(minutes / 60) + ":" + two(minutes % 60) + ":" + two(whole % 60);
  };

  function draw() {
    now.textContent = clock(position);
    seek.value = String(position);
    seek.setAttribute("aria-valuetext", clock(position) + ", " + sounds[chosen].dataset.name);
    for (const place of timed) {
      const cursor = place.querySelector(".cursor");
      cursor.hidden = false;
      cursor.style.left = (100 * position) / duration + "%";
    }
  }

  function follow() {
    const wide = scroller.querySelector(".wide");
    const x = (wide.offsetWidth * position) / duration;
    const seen = scroller.clientWidth - 44;
    if (x < scroller.scrollLeft || x > scroller.scrollLeft + seen - 40) scroller.scrollLeft = Math.max(0, x - seen * 0.2);
  }

  function place(sound) {
    const length = Number.isFinite(sound.duration) ? sound.duration : duration;
    sound.currentTime = Math.min(Math.max(0, position - start(sound)), Math.max(0, length - 0.02));
  }

  function say(problem) {
    trouble.textContent = problem;
    trouble.hidden = !problem;
  }

  function sing() {
    const sound = sounds[chosen];
    wanted = true;
    play.classList.add("playing");
    play.setAttribute("aria-label", "Pause");
    const begun = sound.play();
    if (begun) begun.then(() => say("")).catch((error) => {
      if (error.name === "AbortError" || sound !== sounds[chosen]) return;
      rest();
      say("This browser can't play the sound in this page (Opus). Open the cover's own file instead.");
    });
    requestAnimationFrame(tick);
  }

  function rest() {
    wanted = false;
    for (const sound of sounds) sound.pause();
    play.classList.remove("playing");
    play.setAttribute("aria-label", "Play");
  }

  function tick() {
    if (!wanted) return;
    const sound = sounds[chosen];
    if (!sound.seeking && !sound.paused) {
      position = sound.currentTime + start(sound);
      draw();
      follow();
    }
    requestAnimationFrame(tick);
  }

  function go(seconds) {
    position = Math.min(Math.max(0, seconds), duration);
    place(sounds[chosen]);
    draw();
    follow();
  }

  function choose(index) {
    if (index === chosen || !sounds[index]) return;
    const before = sounds[chosen];
    if (wanted && !before.paused) position = before.currentTime + start(before);
    chosen = index;
    choices.forEach((button, at) => {
      button.setAttribute("aria-checked", String(at === index));
      button.tabIndex = at === index ? 0 : -1;
    });
    place(sounds[index]);
    if (wanted) sing();
    before.pause();
    draw();
  }

  play.addEventListener("click", () => (wanted ? rest() : sing()));
  seek.addEventListener("input", () => go(Number(seek.value)));
  choices.forEach((button, index) => button.addEventListener("click", () => choose(index)));
  choices.forEach((button, index) => (button.tabIndex = index === chosen ? 0 : -1));
  for (const button of document.querySelectorAll(".moment")) {
    button.addEventListener("click", () => {
      go(Number(button.dataset.at));
      sing();
    });
  }
  for (const place of timed) {
    place.addEventListener("click", (event) => {
      const box = place.getBoundingClientRect();
      go(((event.clientX - box.left) / box.width) * duration);
    });
  }
  sounds.forEach((sound, index) => {
    sound.preload = "auto";
    sound.controls = false;
    sound.addEventListener("ended", () => {
      if (index !== chosen) return;
      rest();
      go(start(sounds[0]));
    });
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const inScroller = scroller.contains(document.activeElement);
    const onChoice = choices.includes(document.activeElement);
    const onButton = document.activeElement instanceof HTMLButtonElement;
    if (event.key === " " && !(onButton && !onChoice)) wanted ? rest() : sing();
    else if (event.key === "k") wanted ? rest() : sing();
    else if (onChoice && ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"].includes(event.key)) {
      const step = event.key === "ArrowLeft" || event.key === "ArrowUp" ? -1 : 1;
      choose((chosen + step + sounds.length) % sounds.length);
      choices[chosen].focus();
    } else if (event.key === "ArrowLeft" && !inScroller) go(position - 5);
    else if (event.key === "ArrowRight" && !inScroller) go(position + 5);
    else if (event.key === "Home") go(0);
    else if (event.key === "a") choose(sounds[chosen].dataset.name === "Cover" ? sounds.findIndex((s) => s.dataset.name === "Song") : 0);
    else if (/^[1-9]$/.test(event.key) && sounds[Number(event.key) - 1]) choose(Number(event.key) - 1);
    else return;
    event.preventDefault();
  });

  document.querySelector(".sounds").hidden = true;
  bar.hidden = false;
  draw();
})();
