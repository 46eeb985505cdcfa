// The choice of light and dark. A classic script in the head: it is applied before the
// first paint. Where storage is off, the choice lasts as long as the page.

(() => {
  const KEY = "resetbed-watch-theme";

  const apply = (theme) => {
    document.documentElement.dataset.theme = theme;
  };

  const stored = () => {
    try {
      return localStorage.getItem(KEY) ?? "";
    } catch {
      return "";
    }
  };

  const store = (theme) => {
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // No storage: nothing to remember it in.
    }
  };

  apply(stored());
  document.addEventListener("DOMContentLoaded", () => {
    const choice = document.getElementById("theme");
    choice.value = stored();
    choice.addEventListener("change", () => {
      apply(choice.value);
      store(choice.value);
    });
  });
})();
