//! Draws a trace: a header with a ruler, and a row for each segment and subsegment.

use super::Options;
use super::columns::{Columns, GAP_TO_DETAIL};
use super::entity::{Entity, mark_word};
use super::fold::Count;
use super::pen::{Pen, PenStyle};
use super::scale::{Scale, draw_bar, draw_ruler};
use super::text::Text;
use super::trace::Trace;
use super::tree::{Content, Row, rows};
use crate::view::model::{Mark, SpanKind};

/// A detail is left out where less of it would fit.
const MIN_DETAIL: usize = 6;

/// Draws `trace` and an empty line after it.
pub(super) fn render(trace: &Trace, options: &Options, out: &mut String) {
    let rows = rows(trace);
    let scale = Scale::of(&trace.entities);
    let columns = Columns::of(&rows, scale.as_ref(), options);
    header(trace, &rows, scale.as_ref(), &columns, options, out);
    for row in &rows {
        let entity = match row.content {
            Content::Entity(entity) => entity,
            Content::Folded(count) => {
                draw_folded(row, count, &columns, options, out);
                continue;
            }
        };
        draw_row(row, entity, scale.as_ref(), &columns, options, out);
        let failed = if options.ascii { "! " } else { "✗ " };
        for exception in &entity.exceptions {
            draw_below(
                row,
                PenStyle::Bad,
                failed,
                exception,
                &columns,
                options,
                out,
            );
        }
        let room = options.width.saturating_sub(columns.tree + 4);
        for line in packed(&entity.annotations, room) {
            draw_below(row, PenStyle::Dim, "", &line, &columns, options, out);
        }
    }
    out.push('\n');
}

/// One line about a document that cannot be drawn.
pub(super) fn problem(what: &Text, doc: &str, options: &Options, out: &mut String) {
    let mut pen = Pen::line(options, out);
    pen.own(PenStyle::Warning, if options.ascii { "! " } else { "✗ " });
    pen.text(PenStyle::Warning, what);
    pen.own(PenStyle::Plain, "; ");
    pen.text(PenStyle::Plain, &Text::count(doc.len(), "byte"));
    pen.own(PenStyle::Plain, ":");
    pen.skip(1);
    pen.text(PenStyle::Dim, &Text::foreign(doc, options.width));
    pen.end();
}

fn header(
    trace: &Trace,
    rows: &[Row<'_>],
    scale: Option<&Scale>,
    columns: &Columns,
    options: &Options,
    out: &mut String,
) {
    let mut pen = Pen::line(options, out);
    pen.text(PenStyle::Bold, &Text::foreign(&trace.id, options.width));
    for (style, fact) in state(trace, rows) {
        pen.skip(2);
        pen.text(style, &fact);
    }
    pen.end();

    let is_segment = |row: &&Row<'_>| row.entity().is_some_and(|e| e.kind == SpanKind::Segment);
    let services = rows.iter().filter(is_segment);
    let services = services.map(|row| row.service + 1).max().unwrap_or(0);
    let mut facts = Text::default();
    if services > 0 {
        facts = Text::count(services, "service");
    }
    if let Some(scale) = scale {
        let length = Text::duration(scale.length, options.ascii);
        let start = Text::time_of_day(scale.start);
        facts = length.join("  ", &facts).join("  ", &start);
    }
    let mut pen = Pen::line(options, out);
    let room = options.width.saturating_sub(columns.bar + columns.gap);
    pen.cell(PenStyle::Plain, &facts, room);
    if let Some(scale) = scale {
        pen.skip(columns.gap);
        draw_ruler(scale, columns.bar, options, &mut pen);
    }
    pen.end();
}

/// How the trace ended, and notes about the drawing.
fn state(trace: &Trace, rows: &[Row<'_>]) -> Vec<(PenStyle, Text)> {
    let marks = |root: bool| {
        let rows = rows.iter().filter(move |row| row.levels.is_empty() == root);
        rows.filter_map(|row| row.entity()?.mark).max()
    };
    let in_progress = trace.entities.iter().any(|entity| entity.in_progress);
    let missing = trace.missing_parents();
    let folded = trace.folded.total();
    let worst_folded = folded.marks().next().map(|(mark, _)| mark);
    let mut state = Vec::new();
    // The result that the caller got decides; an error that was handled inside is shown beside it.
    match (marks(true), marks(false).max(worst_folded)) {
        (Some(mark), _) => state.push((mark_style(mark), Text::own(mark_word(mark)))),
        (None, inside) => {
            state.push(if in_progress {
                (PenStyle::Warning, Text::own("IN PROGRESS"))
            } else if missing > 0 {
                // The missing parts may have failed.
                (PenStyle::Warning, Text::own("PARTIAL"))
            } else {
                (PenStyle::Good, Text::own("OK"))
            });
            if let Some(inside) = inside {
                let word = Text::own(mark_word(inside)).join(" ", &Text::own("inside"));
                state.push((mark_style(inside), word));
            }
        }
    }
    if missing > 0 {
        let note = Text::count(missing, "parent").join(" ", &Text::own("not seen"));
        state.push((PenStyle::Dim, note));
    }
    if folded.entities > 0 {
        let note = Text::count(folded.entities, "subsegment").join(" ", &Text::own("folded"));
        state.push((PenStyle::Dim, note));
    }
    if trace.printed {
        state.push((PenStyle::Dim, Text::own("updated")));
    }
    state
}

fn draw_row(
    row: &Row<'_>,
    entity: &Entity,
    scale: Option<&Scale>,
    columns: &Columns,
    options: &Options,
    out: &mut String,
) {
    let mut pen = Pen::line(options, out);
    let tree = draw_tree(&row.levels, None, columns, options, &mut pen);
    let mut room = columns.label.saturating_sub(tree);
    let name = if entity.kind == SpanKind::Segment {
        PenStyle::Bold
    } else {
        PenStyle::Plain
    };
    let wanted = entity.name.columns().min(room);
    pen.cell(name, &entity.name, wanted);
    room -= wanted;
    if room >= GAP_TO_DETAIL + MIN_DETAIL.min(entity.detail.columns()) {
        pen.skip(GAP_TO_DETAIL);
        pen.cell(PenStyle::Dim, &entity.detail, room - GAP_TO_DETAIL);
    } else {
        pen.skip(room);
    }
    let mark_colour = entity.mark.map_or(PenStyle::Plain, mark_style);
    let kind = Text::own(entity.kind.word());
    let mark = Text::own(entity.mark.map_or("", mark_word));
    let duration = entity.duration(options.ascii);
    let cells = [
        (PenStyle::Dim, kind, columns.kind, false),
        (mark_colour, entity.status_text(), columns.status, true),
        (mark_colour, mark, columns.mark, false),
        (PenStyle::Plain, duration, columns.duration, true),
    ];
    for (style, text, width, right) in cells.iter().filter(|cell| cell.2 > 0) {
        pen.skip(columns.gap);
        if *right {
            pen.cell_right(*style, text, *width);
        } else {
            pen.cell(*style, text, *width);
        }
    }
    if let Some(scale) = scale {
        pen.skip(columns.gap);
        let colour = entity
            .mark
            .map_or(PenStyle::Service(row.service), mark_style);
        draw_bar(entity, colour, scale, columns.bar, options, &mut pen);
    }
    pen.end();
}

/// A row of entities that are only counted: `… 700 more  2 FAULT`.
fn draw_folded(
    row: &Row<'_>,
    count: Count,
    columns: &Columns,
    options: &Options,
    out: &mut String,
) {
    let mut pen = Pen::line(options, out);
    draw_tree(&row.levels, None, columns, options, &mut pen);
    pen.own(PenStyle::Dim, if options.ascii { "~ " } else { "… " });
    pen.text(PenStyle::Dim, &Text::number(count.entities));
    pen.own(PenStyle::Dim, " more");
    for (mark, entities) in count.marks() {
        pen.skip(2);
        let text = Text::number(entities).join(" ", &Text::own(mark_word(mark)));
        pen.text(mark_style(mark), &text);
    }
    pen.end();
}

/// A line below a row, inside its branch of the tree.
fn draw_below(
    row: &Row<'_>,
    style: PenStyle,
    mark: &'static str,
    text: &Text,
    columns: &Columns,
    options: &Options,
    out: &mut String,
) {
    let mut pen = Pen::line(options, out);
    draw_tree(
        &row.levels,
        Some(row.has_children),
        columns,
        options,
        &mut pen,
    );
    pen.own(style, mark);
    pen.text(style, text);
    pen.end();
}

/// The lines of the tree in front of a row, or below it, where they go on to its children if it
/// has some. Returns the columns they take in front of a row.
fn draw_tree(
    levels: &[bool],
    below: Option<bool>,
    columns: &Columns,
    options: &Options,
    pen: &mut Pen<'_>,
) -> usize {
    let (through, branch, last, more) = if options.ascii {
        ("| ", "|-", "`-", "~ ")
    } else {
        ("│ ", "├╴", "└╴", "… ")
    };
    let most = columns.tree / 2;
    let mut shown = levels;
    if levels.len() > most {
        shown = &levels[levels.len() + 1 - most..];
        pen.own(PenStyle::Dim, more);
    }
    for (at, follows) in shown.iter().enumerate() {
        let own = below.is_none() && at + 1 == shown.len();
        let piece = match (own, follows) {
            (true, true) => branch,
            (true, false) => last,
            (false, true) => through,
            (false, false) => "  ",
        };
        pen.own(PenStyle::Dim, piece);
    }
    if let Some(has_children) = below {
        pen.own(PenStyle::Dim, if has_children { through } else { "  " });
    }
    2 * levels.len().min(most)
}

/// As many texts a line as fit in `room` columns.
fn packed(texts: &[Text], room: usize) -> Vec<Text> {
    let mut lines: Vec<Text> = Vec::new();
    for text in texts {
        match lines.last_mut() {
            Some(line) if line.columns() + 2 + text.columns() <= room => {
                *line = line.join("  ", text);
            }
            _ => lines.push(text.clone()),
        }
    }
    lines
}

fn mark_style(mark: Mark) -> PenStyle {
    match mark {
        Mark::Error => PenStyle::Warning,
        Mark::Throttle => PenStyle::Throttled,
        Mark::Fault => PenStyle::Bad,
    }
}
