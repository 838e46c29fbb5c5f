//! Table of the figures beside their goals, for people.

use comfy_table::{ContentArrangement, Table, presets};

use crate::{
    file_lengths::FILE_LINES_MAX, function_lengths::FUNCTION_LINES_MAX, house_report::HouseReport,
    import_circles::ImportCircle, length_figures::LengthFigures, line_counts::LineCount,
    type_names::NameFigures,
};

/// Percentage of type names of one word that isn't reached.
const ONE_WORD_SHARE_MAX: f64 = 30.0;
/// Percentage of names with more than one meaning that isn't reached.
const REUSED_SHARE_MAX: f64 = 6.0;

/// A figure with what it should be.
struct FigureRow {
    figure: String,
    value: String,
    goal: String,
    met: bool,
}

impl FigureRow {
    fn plain(figure: impl Into<String>, value: impl ToString) -> FigureRow {
        FigureRow {
            figure: figure.into(),
            value: value.to_string(),
            goal: String::new(),
            met: true,
        }
    }

    fn at_most(figure: impl Into<String>, value: usize, most: usize) -> FigureRow {
        let goal = if most == 0 {
            "0".to_owned()
        } else {
            format!("<= {most}")
        };
        FigureRow {
            goal,
            met: value <= most,
            ..FigureRow::plain(figure, value)
        }
    }

    fn share_below(
        figure: impl Into<String>,
        (value, text): (f64, String),
        limit: f64,
    ) -> FigureRow {
        FigureRow {
            goal: format!("< {limit} %"),
            met: value < limit,
            ..FigureRow::plain(figure, format!("{value:.1} % ({text})"))
        }
    }
}

/// Renders the figures, one a line, with columns two spaces apart.
pub fn render_table(report: &HouseReport) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(["FIGURE", "VALUE", "GOAL", ""]);
    for row in rows(report) {
        let verdict = if row.met { "" } else { "missed" };
        table.add_row([row.figure, row.value, row.goal, verdict.to_owned()]);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines();
    let trimmed: Vec<String> = lines.map(|line| line.trim_end().to_owned()).collect();
    trimmed.join("\n")
}

fn rows(report: &HouseReport) -> Vec<FigureRow> {
    let mut rows = line_rows(report);
    let names = &report.type_names;
    rows.extend(name_rows("product", &names.product));
    rows.extend(name_rows("jepsen", &names.jepsen));
    rows.extend(name_rows("both", &names.together));
    rows.extend(circle_rows(report));
    rows.extend(length_rows(report));
    let errors = &report.string_errors;
    let product = FigureRow::at_most("Result<_, String>, product", errors.product, 0);
    rows.push(product);
    rows.push(FigureRow::plain("  testing crates", errors.testing));
    rows.push(FigureRow::plain("test functions", report.tests.functions));
    rows.push(FigureRow::plain("  ignored", report.tests.ignored));
    rows
}

fn line_rows(report: &HouseReport) -> Vec<FigureRow> {
    let lines = &report.lines;
    let counted = |LineCount { raw, code }| format!("{raw} ({code} of code)");
    let largest = format!("{} in {}", lines.largest_crate_lines, lines.largest_crate);
    vec![
        FigureRow::plain("lines, product", counted(lines.product)),
        FigureRow::plain("  tests and chaos", counted(lines.tests)),
        FigureRow::plain("crates", report.crates),
        FigureRow::plain("  lines of the largest", largest),
    ]
}

fn name_rows(part: &str, names: &NameFigures) -> Vec<FigureRow> {
    let NameFigures {
        declarations,
        distinct,
        one_word,
        reused,
    } = names;
    let counted = format!("{declarations} ({distinct} distinct)");
    let one_word = (names.one_word_share(), one_word.to_string());
    let reused = (names.reused_share(), reused.to_string());
    vec![
        FigureRow::plain(format!("type names, {part}"), counted),
        FigureRow::share_below("  one word", one_word, ONE_WORD_SHARE_MAX),
        FigureRow::share_below("  more than one meaning", reused, REUSED_SHARE_MAX),
    ]
}

fn circle_rows(report: &HouseReport) -> Vec<FigureRow> {
    let found = &report.import_circles;
    let members = |circles: &[ImportCircle]| circles.iter().map(|it| it.files.len()).sum();
    let (files, strict_files): (usize, usize) = (members(&found.circles), members(&found.strict));
    let strict = format!("{} ({strict_files} files)", found.strict.len());
    vec![
        FigureRow::at_most("import circles", found.circles.len(), 0),
        FigureRow::plain("  files in circles", files),
        FigureRow::plain("  with imports from parents", strict),
    ]
}

fn length_rows(report: &HouseReport) -> Vec<FigureRow> {
    let functions = &report.functions;
    let longest = functions.longest_but_tables;
    let over = format!(
        "{} ({} but tables)",
        functions.all.over_limit, functions.over_limit_but_tables
    );
    let files = &report.files.all;
    vec![
        FigureRow::plain("functions", functions.all.count),
        FigureRow::plain("  median, p90, p99", places(&functions.all)),
        FigureRow::plain("  longest function", functions.all.longest),
        FigureRow::at_most("  longest but tables", longest, FUNCTION_LINES_MAX),
        FigureRow::plain(format!("  above {FUNCTION_LINES_MAX}"), over),
        FigureRow::plain("files", files.count),
        FigureRow::plain("  median, p90, p99", places(files)),
        FigureRow::at_most("  longest file", files.longest, FILE_LINES_MAX),
        FigureRow::plain(format!("  above {FILE_LINES_MAX}"), files.over_limit),
    ]
}

fn places(figures: &LengthFigures) -> String {
    let LengthFigures {
        median, p90, p99, ..
    } = figures;
    format!("{median}, {p90}, {p99}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::measured;

    fn line<'a>(table: &'a str, start: &str) -> &'a str {
        let mut lines = table.lines();
        lines.find(|line| line.starts_with(start)).unwrap()
    }

    #[test]
    fn goals_missed_are_marked() {
        let long = format!(
            "fn a() -> Result<u8, String> {{\n{}}}\n",
            "if b() {}\n".repeat(460)
        );
        let circle = "mod c;\nmod d;\nstruct E;\nstruct E;\n";
        let table = render_table(&measured(&[
            ("src/lib.rs", circle),
            ("src/c.rs", &format!("use crate::d;\n{long}")),
            ("src/d.rs", "use crate::c;\n"),
        ]));
        for start in [
            "  one word",
            "  more than",
            "import circles",
            "  longest but",
            "  longest file",
            "Result",
        ] {
            assert!(line(&table, start).ends_with("missed"), "{table}");
        }
    }

    #[test]
    fn goals_met_bear_no_mark() {
        let table = render_table(&measured(&[("src/lib.rs", "struct LeaseReader;\n")]));
        assert!(!table.contains("missed"), "{table}");
        assert!(line(&table, "  one word").contains("0.0 % (0)"), "{table}");
    }
}
