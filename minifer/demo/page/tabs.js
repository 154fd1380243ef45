// Tabs as the ARIA patterns have them: Tab reaches the chosen one, the arrow keys, Home and End go through them.

const tabs = [...document.querySelectorAll('[role="tab"]')];
const panel = (tab) => document.getElementById(tab.getAttribute("aria-controls"));

// changed(name) is called with "maps" and so on when another panel is shown.
export function startTabs(changed) {
  const choose = (chosen, focus) => {
    for (const tab of tabs) {
      tab.setAttribute("aria-selected", tab === chosen);
      tab.tabIndex = tab === chosen ? 0 : -1;
      panel(tab).hidden = tab !== chosen;
    }
    if (focus) chosen.focus();
    changed(chosen.id.replace("tab-", ""));
  };
  tabs.forEach((tab, number) => {
    tab.addEventListener("click", () => choose(tab, false));
    tab.addEventListener("keydown", (event) => {
      const target = { ArrowRight: number + 1, ArrowLeft: number - 1, Home: 0, End: -1 }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      choose(tabs.at(target % tabs.length), true);
    });
  });
  choose(tabs[0], false);
}
