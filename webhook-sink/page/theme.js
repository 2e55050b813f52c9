// Before anything is painted: the theme that was chosen, if one was. Without a choice the system's is followed.
"use strict";

try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage can be forbidden; then the system's theme it is.
}
