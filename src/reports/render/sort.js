// Rows of tables in the order of a column: header buttons, each group by
// itself. A third press brings the first order back.
for (const table of document.querySelectorAll('table:not(.stages)')) {
  const heads = table.tHead ? [...table.tHead.rows[0].cells] : [];
  const groups = [...table.tBodies].map((body) => ({ body, rows: [...body.rows] }));
  const isTitle = (row) => row.cells.length === 1 && heads.length > 1;
  const many = (group) => group.rows.filter((row) => !isTitle(row)).length > 1;
  if (!groups.some(many)) continue;
  const value = (row, at) => {
    const cell = row.cells[at].cloneNode(true);
    cell.querySelectorAll('sup').forEach((sup) => sup.remove());
    const text = cell.textContent.replace(/[\u2009\u00a0]/g, '').replace(/\u2212/g, '-').trim();
    const number = /^[+-]?\d+(\.\d+)?(e[+-]?\d+)?/i.exec(text);
    if (number) return [0, Number(number[0]), text];
    return [text === '' || text === '-' ? 2 : 1, 0, text];
  };
  const compare = (a, b, sign) => {
    if (a[0] !== b[0]) return a[0] - b[0];
    return sign * (a[1] - b[1] || a[2].localeCompare(b[2], undefined, { numeric: true }));
  };
  heads.forEach((head, at) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.append(...head.childNodes);
    if (!button.textContent.trim()) button.setAttribute('aria-label', 'Sort by name');
    head.append(button);
    button.addEventListener('click', () => {
      const before = head.getAttribute('aria-sort');
      const now = { null: 'descending', descending: 'ascending' }[before];
      heads.forEach((other) => other.removeAttribute('aria-sort'));
      if (now) head.setAttribute('aria-sort', now);
      const sign = now === 'ascending' ? 1 : -1;
      for (const { body, rows } of groups) {
        const order = rows.filter((row) => !isTitle(row)).map((row) => [value(row, at), row]);
        if (now) order.sort((a, b) => compare(a[0], b[0], sign));
        body.append(...rows.filter(isTitle), ...order.map((pair) => pair[1]));
      }
    });
  });
}
