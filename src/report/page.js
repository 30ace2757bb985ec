'use strict';
// Everything that comes from the data is put into the document as text, never as HTML.
(function () {
  const data = JSON.parse(document.getElementById('data').textContent);
  const signs = { 'complete': '✓', 'gaps': '▤', 'quarantined': 'Q', 'new-files': '+', 'pending': '◌', 'missing': '×', 'unproven': '!' };
  const words = Object.fromEntries(data.states.map(s => [s.key, s.word]));
  const $ = id => document.getElementById(id);
  const series = c => c.exchange + '/' + c.stream + '/' + c.symbol;
  const iso = day => day.slice(0, 4) + '-' + day.slice(4, 6) + '-' + day.slice(6);
  const number = n => n.toLocaleString('en-US');
  const SVG = 'http' + '://www.w3.org/2000/svg';

  function el(name, attributes, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
    node.append(...children.filter(c => c !== null && c !== undefined).map(c => typeof c === 'number' ? String(c) : c));
    return node;
  }
  function svg(name, attributes, text) {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    if (text !== undefined) node.textContent = text;
    return node;
  }
  function bytes(n) {
    if (n < 1000) return n + ' B';
    const units = ['kB', 'MB', 'GB', 'TB', 'PB'];
    let at = -1;
    do { n /= 1000; at += 1; } while (n >= 1000 && at < units.length - 1);
    return n.toFixed(2) + ' ' + units[at];
  }
  function plural(n, noun) { return number(n) + ' ' + noun + (n === 1 ? '' : 's'); }
  function ratio(from, to) { return from > 0 && to > 0 ? (from / to).toFixed(2) + ' : 1' : '–'; }
  function empty(text) { return el('p', { class: 'empty' }, text); }

  // columns: [header, class, cell of a row]
  function table(caption, columns, rows) {
    // A table with long texts becomes a list of cards on a phone; the roles keep it a table for who does not see it.
    const stack = columns.some(([, kind]) => kind === 'long') ? 'stack' : '';
    const head = el('tr', { role: 'row' }, ...columns.map(([name, kind]) => el('th', { scope: 'col', role: 'columnheader', class: kind || '' }, name)));
    const body = rows.map(row => el('tr', { role: 'row' }, ...columns.map(([name, kind, of], nth) => {
      const cell = of(row);
      return nth === 0 ? el('th', { scope: 'row', role: 'rowheader' }, cell) : el('td', { class: kind || '', role: 'cell', 'data-name': name }, cell);
    })));
    const made = el('table', { class: stack, role: 'table' }, el('caption', { class: 'hidden' }, caption),
      el('thead', { role: 'rowgroup' }, head), el('tbody', { role: 'rowgroup' }, ...body));
    return el('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption }, made);
  }

  function plot(cell, label) {
    // On a phone a pixel is three minutes wide; the height and the letters stay.
    const narrow = innerWidth < 640 ? 3 : 1;
    const width = 1440 / narrow, height = 150, bottom = 126, events = cell.events;
    const minutes = width / events.length;
    const most = events.reduce((a, b) => Math.max(a, b), 1);
    const picture = svg('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': label });
    const at = time => { const [h, m] = time.split(':').map(Number); return (h * 60 + m) / narrow; };
    for (const gap of cell.gaps) {
      const from = at(gap.from), to = at(gap.to);
      const shade = svg('rect', { class: 'gap', x: from, y: 0, width: Math.max(1, to - from), height: bottom });
      shade.append(svg('title', {}, `${gap.from} to ${gap.to}: ${gap.why}`));
      picture.append(shade);
    }
    // One outline instead of a bar each: bars side by side shimmer.
    let path = `M0 ${bottom}`;
    events.forEach((count, nth) => {
      const top = count > 0 ? (bottom - Math.max(1, count / most * (bottom - 14))).toFixed(1) : bottom;
      path += `V${top}H${(nth + 1) * minutes}`;
    });
    picture.append(svg('path', { class: 'bars', d: path + `V${bottom}Z` }));
    picture.append(svg('path', { class: 'axis', d: `M0 ${bottom}H${width}` }));
    for (let hour = 0; hour <= 24; hour += 3 * (narrow > 1 ? 2 : 1)) {
      const anchor = hour === 0 ? 'start' : hour === 24 ? 'end' : 'middle';
      picture.append(svg('text', { x: hour * 60 / narrow, y: height - 6, 'text-anchor': anchor, class: narrow > 1 ? '' : 'large' }, String(hour).padStart(2, '0') + ':00'));
    }
    const unit = events.length === 1440 ? 'minute' : 'hour';
    return el('figure', {}, picture, el('figcaption', {}, `events per ${unit}, at most ${number(most)}; UTC`));
  }

  const fields = ['exchange', 'stream', 'symbol', 'state'];
  function choices() {
    for (const field of fields) {
      const seen = new Set(data.cells.map(c => c[field]));
      const order = field === 'state' ? data.states.map(s => s.key).filter(k => seen.has(k)) : [...seen].sort();
      const select = $('f-' + field);
      select.append(el('option', { value: '' }, 'all'));
      for (const value of order) select.append(el('option', { value }, field === 'state' ? words[value] : value));
      select.addEventListener('change', show);
    }
    $('filters').addEventListener('reset', () => setTimeout(show, 0));
    $('filters').addEventListener('submit', event => event.preventDefault());
  }
  const wanted = c => fields.every(field => !$('f-' + field).value || c[field] === $('f-' + field).value);
  const wantedSeries = name => {
    const [exchange, stream, symbol] = name.split('/');
    return [['exchange', exchange], ['stream', stream], ['symbol', symbol]].every(([f, v]) => !$('f-' + f).value || $('f-' + f).value === v);
  };

  function tiles(cells) {
    const sum = of => cells.reduce((total, c) => total + (c.published ? of(c.published) || 0 : 0), 0);
    const known = cells.filter(c => c.published && c.published.bytes_in);
    const complete = cells.filter(c => c.state === 'complete').length;
    const total = of => known.reduce((t, c) => t + of(c.published), 0);
    const kept = data.quarantine.filter(q => wantedSeries(q.series) && !q.discarded).length;
    const share = cells.length ? Math.floor(1000 * complete / cells.length) / 10 : 0;
    const tile = (name, value, small) => el('div', {}, el('dt', {}, name), el('dd', {}, value, small ? el('small', {}, ' ' + small) : null));
    $('tiles').replaceChildren(
      tile('Complete', `${number(complete)} of ${number(cells.length)}`, share + ' %'),
      tile('Rows', number(sum(p => p.rows))),
      tile('Archived', bytes(sum(p => p.bytes))),
      tile('Compression', ratio(total(p => p.bytes_in), total(p => p.bytes)), 'of the spool files'),
      tile('Gaps', number(cells.reduce((n, c) => n + c.gaps.length, 0))),
      tile('In quarantine', number(kept)),
    );
  }

  let chosen = null;
  function calendar(cells) {
    const byDay = new Map(cells.map(c => [series(c) + ' ' + c.date, c]));
    const names = [...new Set(cells.map(series))];
    const months = [...new Set(data.days.map(d => d.slice(0, 6)))];
    const made = [];
    for (const month of months) {
      const days = data.days.filter(d => d.startsWith(month));
      const rows = names.filter(name => days.some(day => byDay.has(name + ' ' + day)));
      if (!rows.length) continue;
      const head = el('tr', {}, el('th', { scope: 'col' }, el('span', { class: 'hidden' }, 'Series')),
        ...days.map(day => el('th', { scope: 'col' }, el('span', { 'aria-hidden': 'true' }, day.slice(6)), el('span', { class: 'hidden' }, iso(day)))));
      const body = rows.map(name => el('tr', {}, el('th', { scope: 'row', title: name }, name), ...days.map(day => {
        const cell = byDay.get(name + ' ' + day);
        if (!cell) return el('td', {});
        const label = `${name} ${iso(day)}: ${words[cell.state]}`;
        const button = el('button', { type: 'button', class: 'cell ' + cell.state, 'aria-label': label, title: label, 'aria-pressed': String(cell === chosen) }, signs[cell.state]);
        button.addEventListener('click', () => choose(cell, button));
        return el('td', {}, button);
      })));
      const caption = month.slice(0, 4) + '-' + month.slice(4);
      const grid = el('table', { class: 'calendar' }, el('caption', {}, caption), el('thead', {}, head), el('tbody', {}, ...body));
      grid.addEventListener('keydown', move);
      made.push(el('div', { class: 'scroll' }, grid));
    }
    $('months').replaceChildren(...(made.length ? made : [empty('Nothing matches the filters.')]));
  }
  // Arrow keys walk through the calendar, beside the order of tabs.
  function move(event) {
    const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    const td = event.target.closest('td');
    if (!step || !td) return;
    let row = td.parentElement, at = [...row.children].indexOf(td);
    const [down, right] = step;
    for (;;) {
      at += right;
      if (down > 0) row = row.nextElementSibling; else if (down < 0) row = row.previousElementSibling;
      const next = row && row.children[at];
      if (!next || next.tagName !== 'TD') return;
      const button = next.querySelector('button');
      if (button) { button.focus(); event.preventDefault(); return; }
    }
  }

  function choose(cell, button) {
    chosen = cell;
    document.querySelectorAll('.cell[aria-pressed="true"]').forEach(b => b.setAttribute('aria-pressed', 'false'));
    button.setAttribute('aria-pressed', 'true');
    $('h-detail').replaceChildren(series(cell) + ' ' + iso(cell.date) + ' ', el('span', { class: 'word ' + cell.state }, signs[cell.state] + ' ' + words[cell.state]));
    const facts = [];
    if (cell.reasons.length) facts.push(el('ul', {}, ...cell.reasons.map(r => el('li', {}, r))));
    if (cell.published) {
      const p = cell.published;
      const rows = [['Rows', number(p.rows)], ['Archived', bytes(p.bytes)], ['Spool files', `${number(p.files)}` + (p.bytes_in ? `, ${bytes(p.bytes_in)}` : '')],
        ['Compression', p.bytes_in ? ratio(p.bytes_in, p.bytes) : '–'], ['Bytes a row', p.rows ? (p.bytes / p.rows).toFixed(1) : '–'], ['Published', p.published_at],
        ...(p.collectors || []).map(c => [`Collector ${c.name}`, `${number(c.rows)} rows, ${number(c.gain)} that no other has` + (c.conflicts ? `, ${number(c.conflicts)} in conflict` : '')])];
      facts.push(el('table', {}, el('caption', { class: 'hidden' }, 'Figures'), el('tbody', {}, ...rows.map(([k, v]) => el('tr', {}, el('th', { scope: 'row' }, k), el('td', {}, v))))));
    }
    if (cell.reconciled) {
      facts.push(el('ul', {}, ...cell.reconciled.map(r => el('li', {}, `Compared with what the exchange published, at ${r.at}: `, verdict(r),
        [unequal(r) && ` ${r.pass}: ${unequal(r)}`, holes(r) && ` holes: ${holes(r)}`, taken(r) && ` rows from its files: ${taken(r)}`, r.message].filter(Boolean).map(t => '; ' + t.trim()).join('')))));
    }
    if (cell.events) facts.push(plot(cell, `Events of ${series(cell)} on ${iso(cell.date)}`));
    if (cell.command) facts.push(el('p', {}, cell.state === 'missing' ? 'Once its files are in the spool: ' : 'Next: ', el('code', {}, cell.command)));
    $('detail-body').replaceChildren(...facts);
    $('detail').hidden = false;
    $('detail').focus({ preventScroll: true });
    $('detail').scrollIntoView({ block: 'nearest' });
  }

  function open(cells) {
    const rows = cells.filter(c => c.state !== 'complete');
    if (!rows.length) return $('open').replaceChildren(empty(cells.length ? 'Every partition is complete.' : 'Nothing matches the filters.'));
    $('open').replaceChildren(table('Partitions that are not complete', [
      ['Partition', '', c => series(c)],
      ['Day', 'day', c => iso(c.date)],
      ['State', '', c => el('span', { class: 'word ' + c.state }, signs[c.state] + ' ' + words[c.state])],
      ['Why, and what to do', 'long', c => el('span', {}, c.reasons.join('; '), c.command ? el('code', { class: 'command' }, c.command) : null)],
    ], rows));
  }

  function gaps(cells) {
    const rows = cells.filter(c => c.gaps.length);
    if (!rows.length) return $('gaps').replaceChildren(empty('No gaps.'));
    $('gaps').replaceChildren(...rows.map(cell => el('article', {},
      el('h3', {}, series(cell) + ' ' + iso(cell.date)),
      el('ul', {}, ...cell.gaps.map(g => el('li', {}, `${g.from} to ${g.to}: ${g.why}`))),
      cell.events ? plot(cell, `Events of ${series(cell)} on ${iso(cell.date)}, with ${plural(cell.gaps.length, 'gap')}`) : null)));
  }

  function days(cells) {
    const rows = data.days.map(day => {
      const of = cells.filter(c => c.date === day && c.published);
      const sum = each => of.reduce((t, c) => t + (each(c.published) || 0), 0);
      return { day, n: of.length, rows: sum(p => p.rows), bytes: sum(p => p.bytes), bytesIn: sum(p => p.bytes_in) };
    }).filter(d => d.n);
    if (!rows.length) return $('days').replaceChildren(empty('Nothing is published.'));
    const most = Math.max(...rows.map(d => d.bytes), 1);
    $('days').replaceChildren(table('Rows and bytes per day', [
      ['Day', 'day', d => iso(d.day)],
      ['Partitions', 'n', d => number(d.n)],
      ['Rows', 'n', d => number(d.rows)],
      ['Spool', 'n', d => bytes(d.bytesIn)],
      ['Archive', 'n', d => bytes(d.bytes)],
      ['Compression', 'n', d => ratio(d.bytesIn, d.bytes)],
      ['', '', d => el('span', { class: 'share', style: `width:${(120 * d.bytes / most).toFixed(0)}px`, 'aria-hidden': 'true' })],
    ], rows));
  }

  function quarantine() {
    const rows = data.quarantine.filter(q => wantedSeries(q.series));
    if (!rows.length) return $('quarantine').replaceChildren(empty('Nothing is in quarantine.'));
    $('quarantine').replaceChildren(table('Quarantined files', [
      ['Partition', '', q => q.series],
      ['Day', 'day', q => iso(q.date)],
      ['Error', '', q => q.error_type + (q.discarded ? ' (discarded)' : '')],
      ['Size', 'n', q => bytes(q.size)],
      ['File and message', 'long', q => el('span', {}, el('code', {}, q.source), el('br', {}), q.message)],
    ], rows));
  }

  const verdicts = { 'equal': ['✓', 'complete'], 'differs': ['×', 'missing'], 'not-proven': ['◌', 'gaps'], 'not-compared': ['!', 'unproven'] };
  function verdict(r) {
    const [sign, tone] = verdicts[r.verdict];
    return el('span', { class: 'word ' + tone }, sign + ' ' + r.verdict.replace('-', ' '));
  }
  const holes = r => Object.entries(r.holes).filter(([, n]) => n).map(([state, n]) => `${number(n)} ${state.replaceAll('_', ' ')}`).join(', ');
  const unequal = r => [[r.differ, 'differ'], [r.only_ours, 'only ours'], [r.only_theirs, 'only theirs']].filter(([n]) => n)
    .map(([n, what]) => `${number(n)} ${what}`).join(', ');
  const taken = r => [[r.recovered, 'recovered'], [r.waiting, 'waiting'], [r.taken, 'taken']].filter(([n]) => n)
    .map(([n, what]) => `${number(n)} ${what}`).join(', ');
  function reconciled() {
    const all = data.reconciled.filter(r => wantedSeries(r.series));
    if (!all.length) return $('reconciled').replaceChildren(empty('No comparison of this range is on record.'));
    const rows = [...all.filter(r => r.verdict !== 'equal'), ...all.filter(r => r.verdict === 'equal')];
    $('reconciled').replaceChildren(table('Comparisons with what exchanges publish', [
      ['Partition', '', r => r.series],
      ['Day', 'day', r => iso(r.date)],
      ['Result', '', verdict],
      ['Ours', 'n', r => number(r.ours)],
      ['Theirs', 'n', r => number(r.theirs)],
      ['Not equal', 'long', r => [unequal(r) && `${unequal(r)} (${r.pass})`, r.message].filter(Boolean).join('; ') || '–'],
      ['Holes', 'long', r => holes(r) || '–'],
      ['Rows from its files', 'long', r => taken(r) || '–'],
      ['Compared', 'day', r => r.at],
    ], rows));
  }

  function slowest() {
    const rows = data.slowest.filter(s => wantedSeries(s.series));
    if (!rows.length) return $('slowest').replaceChildren(empty('No compaction of this range is on record.'));
    $('slowest').replaceChildren(table('Partitions whose compaction took longest', [
      ['Partition', '', s => s.series],
      ['Day', 'day', s => iso(s.date)],
      ['Seconds', 'n', s => s.seconds.toFixed(2)],
      ['Rows', 'n', s => number(s.rows)],
      ['Read', 'n', s => bytes(s.bytes_in)],
      ['Run began', 'day', s => s.started_at],
    ], rows));
  }

  function runs() {
    if (!data.runs.length) return $('runs').replaceChildren(empty('No run since the first day of the range is on record.'));
    const came = r => Object.entries(r.came).map(([what, n]) => `${n} ${what}`).join(', ') || 'nothing to do';
    $('runs').replaceChildren(table('Runs, the latest first', [
      ['Began', '', r => r.started_at],
      ['Command', '', r => r.command + (r.mode ? ' ' + r.mode : '')],
      ['Exit code', 'n', r => r.exit_code],
      ['Seconds', 'n', r => r.seconds.toFixed(2)],
      ['Peak memory', 'n', r => r.peak ? bytes(r.peak) : '–'],
      ['Limit', 'n', r => r.limit ? bytes(r.limit) : '–'],
      ['What came', 'long', came],
    ], data.runs));
  }

  function show() {
    const cells = data.cells.filter(wanted);
    if (chosen && !cells.includes(chosen)) { chosen = null; $('detail').hidden = true; }
    $('shown').textContent = `${number(cells.length)} of ${plural(data.cells.length, 'partition')}`;
    tiles(cells); calendar(cells); open(cells); gaps(cells); days(cells); quarantine(); reconciled(); slowest();
  }

  $('range').textContent = `${iso(data.start)} to ${iso(data.end)}`;
  const ended = data.ended.length ? ` Left out, for nothing of them lies in this range: ${data.ended.map(([s, last]) => `${s} (until ${iso(last)})`).join(', ')}.` : '';
  const nameless = data.without_day ? ` ${plural(data.without_day, 'file')} of the spool tell no day.` : '';
  $('about').textContent = `${data.archive}, as of ${data.made_at}. Days are UTC days.${ended}${nameless}`;
  $('foot').textContent = `Made by qlc ${data.version}. Compression compares the data with the spool files it was made of.`;
  $('legend').append(...data.states.filter(s => data.cells.some(c => c.state === s.key))
    .map(s => el('li', {}, el('span', { class: 'cell ' + s.key, 'aria-hidden': 'true' }, signs[s.key]), s.word)));
  choices();
  runs();
  show();
  document.documentElement.dataset.ready = 'yes';
})();
