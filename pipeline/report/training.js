"use strict";
// Of the versions of a clip one sounds at a time; the next goes on where the last one is.
for (const clip of document.querySelectorAll(".clip")) {
  const sounds = Array.from(clip.querySelectorAll("audio"));
  for (const sound of sounds) {
    sound.addEventListener("play", () => {
      for (const other of document.querySelectorAll(".clip audio")) {
        if (other === sound || other.paused) continue;
        if (sounds.includes(other)) sound.currentTime = Math.min(other.currentTime, sound.duration || other.currentTime);
        other.pause();
      }
    });
  }
}
