//! The page's style sheet: light and dark, phone width upwards, prints well.

/// CSS of the notebook page, without the plots' part.
pub(super) const PAGE: &str = r"
:root{--paper:#fff;--ink:#1c1e21;--soft:#5d6570;--line:#d9dde3;--card:#f5f6f8;--accent:#0b63ce;
--good:#18794e;--guide:#8e4ec6;--vocab:#9a6700;--bad:#cd2b31;--series-1:#0072b2;--series-2:#d55e00;
--series-3:#009e73;--series-4:#cc79a7}
@media(prefers-color-scheme:dark){:root{--paper:#15171a;--ink:#e8eaed;--soft:#a2aab5;--line:#3a3f46;
--card:#1f2226;--accent:#79b0ff;--good:#4cc38a;--guide:#bf7af0;--vocab:#e2b341;--bad:#ff6369;
--series-1:#58b4e9;--series-2:#f0a050;--series-3:#3cc79a;--series-4:#e39bc4}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 4rem}
h1{font-size:1.8rem;line-height:1.2;margin:.2rem 0 .4rem}h2{margin:2.2rem 0 .6rem;font-size:1.25rem}
h3{margin:1.4rem 0 .5rem;font-size:1.05rem}
.meta,.note{color:var(--soft);font-size:.9rem}
a{color:var(--accent)}code{font:.9em ui-monospace,monospace}
.scroll{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
caption{text-align:left;white-space:normal;max-width:calc(100vw - 2rem);font-weight:600;padding-bottom:.4rem}
th,td{padding:.35rem .8rem;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap}
thead th{border-bottom:2px solid var(--ink)}
th:first-child,td.text{text-align:left}
tbody+tbody{border-top:1px solid var(--ink)}tbody th[colspan]{font-style:italic}
.origin{color:var(--soft);font-size:.8rem;margin:.3rem 0 1rem;overflow-wrap:anywhere}
.state{border-left:.25rem solid var(--vocab);background:var(--card);padding:.5rem .8rem}
.state[data-state=running]{border-color:var(--accent)}.state[data-state=failed]{border-color:var(--bad)}
.stale{color:var(--vocab);font-size:.8rem}
[data-color=correct],[data-color=correct_primary],[data-color=green],[data-color=P]{color:var(--good)}
[data-color=guide]{color:var(--guide)}[data-color=vocab],[data-color=orange],[data-color=yellow]{color:var(--vocab)}
[data-color=other],[data-color=incorrect],[data-color=red],[data-color=I]{color:var(--bad)}
.stages td,.stages th{vertical-align:top}.stages th{text-align:left}.stages .wide{white-space:normal;min-width:16rem}
.why{color:var(--soft);font-size:.85rem}
.badge{display:inline-block;padding:0 .5rem;border:1px solid currentColor;border-radius:1rem;font-size:.85rem}
.badge[data-state=done],.badge[data-state=fresh]{color:var(--good)}
.badge[data-state=failed],.badge[data-state=blocked]{color:var(--bad)}
.badge[data-state=stale],.badge[data-state=interrupted]{color:var(--vocab)}
.badge[data-state=running]{color:var(--accent)}.badge[data-state=new]{color:var(--soft)}
.plots{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,22rem),1fr));gap:1rem}
.gallery{display:grid;grid-template-columns:repeat(auto-fill,minmax(10.5rem,1fr));gap:.8rem}
@media(max-width:40rem){.plots svg.plot{min-width:32rem}}
figure.plot{padding:.5rem}figure.plot figcaption{color:var(--soft)}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:.5rem;overflow:hidden}
figure img{display:block;width:100%;aspect-ratio:1;object-fit:contain;background:#fff;padding:.6rem}
.absent{aspect-ratio:1;display:grid;place-items:center;color:var(--soft)}
figcaption{padding:.45rem .6rem .6rem;font-size:.85rem}
.truth{color:var(--soft);margin-bottom:.2rem}
.guess{position:relative;display:flex;justify-content:space-between;gap:.5rem;padding:.05rem .3rem}
.guess .bar{position:absolute;inset:.1rem auto .1rem 0;background:currentColor;opacity:.16;border-radius:.2rem}
.guess[data-kind=correct]{color:var(--good);font-weight:600}
.guess[data-kind=guide]{color:var(--guide)}.guess[data-kind=vocab]{color:var(--vocab)}
.guess[data-kind=other]{color:var(--bad)}
.guess .noun{overflow-wrap:anywhere}.guess .probability{white-space:nowrap}
details{margin:.6rem 0}summary{cursor:pointer}
pre{overflow:auto;background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.8rem;font-size:.85rem}
@media print{details{display:none}figure{break-inside:avoid}}
";
