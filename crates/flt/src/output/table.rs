//! Tables: upper-case headers, two spaces between columns, NAME first, AGE last, `-` for nothing.

use super::Style;

/// A table in the making.
#[derive(Debug, Clone, Default)]
pub(crate) struct Table {
    headers: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headers: upper case, no spaces.
    pub(crate) fn new(headers: &[&'static str]) -> Self {
        Self { headers: headers.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. An empty cell is shown as `-`; what a cell lacks in front of the last column is `-` too.
    pub(crate) fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) -> &mut Self {
        let mut row: Vec<String> = cells.into_iter().map(|cell| clean(cell.into())).collect();
        row.resize(self.headers.len(), "-".into());
        self.rows.push(row);
        self
    }

    /// Whether no row was added.
    pub(crate) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The table as text. Where the line is too short for it, the widest columns are cut and end in `..`.
    pub(crate) fn text(&self, style: &Style) -> String {
        let widths = self.widths(style.width);
        let mut text = String::new();
        let headers = self.headers.iter().map(|header| (*header).to_owned()).collect();
        for row in std::iter::once(&headers).chain(&self.rows) {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                let cell = cut(cell, *width);
                let pad = width + GAP - cell.chars().count();
                line.push_str(&cell);
                line.extend(std::iter::repeat_n(' ', pad));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }

    fn widths(&self, limit: Option<usize>) -> Vec<usize> {
        let mut widths: Vec<usize> = self.headers.iter().map(|header| header.len()).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let Some(limit) = limit else { return widths };
        let gaps = GAP * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > limit {
            // The first column says what the row is about: it is cut only when nothing else can be.
            let widest = widths.iter_mut().zip(&self.headers).enumerate().rev();
            let room = |(at, (width, header)): &(usize, (&mut usize, &&str))| {
                let least = if *at == 0 { FIRST_MIN } else { CELL_MIN }.max(header.len());
                width.saturating_sub(least)
            };
            match widest.max_by_key(room) {
                Some(column) if room(&column) > 0 => *column.1.0 -= 1,
                _ => break,
            }
        }
        widths
    }
}

/// One line, no control characters: what nodes say of themselves must not move the cursor.
fn clean(cell: String) -> String {
    if cell.is_empty() {
        return "-".into();
    }
    if cell.chars().any(char::is_control) {
        return cell.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    }
    cell
}

fn cut(cell: &str, width: usize) -> String {
    if cell.chars().count() <= width {
        return cell.to_owned();
    }
    let mut cut: String = cell.chars().take(width.saturating_sub(2)).collect();
    cut.push_str("..");
    cut
}

/// Spaces between columns.
const GAP: usize = 2;
/// The least a column is cut to, in characters.
const CELL_MIN: usize = 6;
/// The least the first column is cut to, in characters.
const FIRST_MIN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["NAME", "STATE", "DETAIL", "AGE"]);
        table.row(["edge-1", "ok", "", "3m"]);
        table.row(["edge-22", "failed", "activation ended with exit code 4\nafter 90 s of waiting for sshd", "12d"]);
        table.row(["edge-3"]);
        table
    }

    #[test]
    fn lays_out_columns() {
        insta::assert_snapshot!(table().text(&Style::PLAIN), @r"
        NAME     STATE   DETAIL                                                            AGE
        edge-1   ok      -                                                                 3m
        edge-22  failed  activation ended with exit code 4 after 90 s of waiting for sshd  12d
        edge-3   -       -                                                                 -
        ");
    }

    #[test]
    fn fits_the_terminal() {
        for width in [40, 60, 80] {
            let text = table().text(&Style { width: Some(width), color: false });
            assert!(text.lines().all(|line| line.chars().count() <= width), "{width}:\n{text}");
            assert!(text.contains(".."), "{width}:\n{text}");
            assert!(text.contains("edge-22") && text.contains("12d"), "{width}:\n{text}");
        }
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["NAME"]);
        table.row(["a\x1b[2Jb"]);
        assert!(!table.text(&Style::PLAIN).contains('\x1b'));
    }
}
