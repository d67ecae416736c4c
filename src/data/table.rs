//! Tables of numbers, for problems of the user's own.

use std::path::Path;

use ndarray::Array2;

use super::{DataError, DataProblem, Folder};

impl Folder {
    /// The numbers of a CSV file (plain, .gz or .xz) whose first line names its columns:
    /// [rows x columns], `least` or more of each. The path is one from the folder, or absolute.
    pub fn table(
        &self,
        path: impl AsRef<Path>,
        least: [usize; 2],
    ) -> Result<Array2<f64>, DataError> {
        self.read(path.as_ref(), |text| parse(text, least))
    }
}

fn parse(text: &str, least: [usize; 2]) -> Result<Array2<f64>, DataProblem> {
    let mut lines = text.lines().zip(1..);
    let columns = lines.next().map_or(0, |(names, _)| names.split(',').count());
    let (mut numbers, mut rows) = (vec![], 0);
    for (text, line) in lines {
        let wrong = |problem| DataProblem::Row { line, problem };
        for cell in text.split(',') {
            let number = cell.trim().parse().ok().filter(|v: &f64| v.is_finite());
            let problem = || wrong(format!("\"{}\" is not a finite number", cell.escape_debug()));
            numbers.push(number.ok_or_else(problem)?);
        }
        rows += 1;
        if numbers.len() != rows * columns {
            let found = text.split(',').count();
            let names = format!("{found} numbers, and the first line has {columns} names");
            return Err(wrong(names));
        }
    }
    for (what, found, least) in [("rows", rows, least[0]), ("columns", columns, least[1])] {
        if found < least {
            return Err(DataProblem::Shape { what, found, least });
        }
    }
    Array2::from_shape_vec((rows, columns), numbers).map_err(|_| DataProblem::Empty)
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn a_table_is_its_numbers_below_a_line_of_names() {
        let table = parse("b,a\n1, 2.5\r\n-3e2,4\n", [2, 2]).unwrap();
        assert_eq!(table, array![[1.0, 2.5], [-300.0, 4.0]]);
        assert_eq!(parse("b,a\n", [0, 2]).unwrap().dim(), (0, 2));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, problem) in [
            ("b,a\n1,2\n3,x\n", "line 3: \"x\" is not a finite number"),
            ("b,a\n1,nan\n", "line 2: \"nan\" is not a finite number"),
            ("b,a\n1,2\n\n", "line 3: \"\" is not a finite number"),
            ("b,a\n1,2,3\n", "line 2: 3 numbers, and the first line has 2 names"),
            ("b,a\n1,2\n", "it has 1 rows, expected at least 2"),
            ("b\n1\n2\n", "it has 1 columns, expected at least 2"),
            ("", "it has 0 rows, expected at least 2"),
        ] {
            assert_eq!(parse(text, [2, 2]).unwrap_err().to_string(), problem);
        }
    }
}
