//! Tables of short texts: columns as wide as their widest cell, two spaces between, no lines.
//!
//! A table knows nothing of terminals: it becomes plain text, which the printer prints. Widths count characters.

use crate::printable;

/// To which side the cells of a column are pushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Align {
    /// Names and words.
    Left,
    /// Numbers and sizes.
    Right,
}

/// Rows of cells below optional headings.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Align>,
    rows: Vec<Vec<String>>,
    indent: &'static str,
}

impl Table {
    /// A table with these columns, indented by one space as all talk is.
    #[must_use]
    pub fn new(columns: &[Align]) -> Self {
        Self { columns: columns.to_vec(), rows: Vec::new(), indent: " " }
    }

    /// The same without indent: for data on stdout, which programs cut at white space.
    #[must_use]
    pub fn flush(mut self) -> Self {
        self.indent = "";
        self
    }

    /// Adds a row; missing cells are empty, cells beyond the columns are dropped. Control characters are escaped.
    pub fn row<I>(&mut self, cells: I)
    where
        I: IntoIterator,
        I::Item: AsRef<str>,
    {
        let cells = cells.into_iter().take(self.columns.len());
        let mut row: Vec<_> = cells.map(|cell| printable(cell.as_ref()).into_owned()).collect();
        row.resize(self.columns.len(), String::new());
        self.rows.push(row);
    }

    /// Whether no row was added.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let widest = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<_> = (0..self.columns.len()).map(widest).collect();
        for row in &self.rows {
            let mut line = String::from(self.indent);
            for ((cell, width), align) in row.iter().zip(&widths).zip(&self.columns) {
                match align {
                    _ if *width == 0 => continue,
                    Align::Left => line.push_str(&format!("{cell:<width$}  ")),
                    Align::Right => line.push_str(&format!("{cell:>width$}  ")),
                }
            }
            writeln!(f, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_tail() {
        let mut table = Table::new(&[Align::Left, Align::Right, Align::Left]);
        table.row(["shop", "3.1 MiB", "delta"]);
        table.row(["web-front", "12 B"]);
        assert_eq!(table.to_string(), " shop       3.1 MiB  delta\n web-front     12 B\n");
    }

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        let mut table = Table::new(&[Align::Left]).flush();
        table.row(["a\nb\x1b[0m"]);
        assert_eq!(table.to_string(), "a\\nb\\u{1b}[0m\n");
    }
}
