//! Functions that are tables: long because they list something, not because they decide much.
//!
//! A table is a function whose statements are all macro calls (metric names), or one whose
//! last expression is a single `match` (reason codes), literal, call or chain of calls (routes)
//! that takes four fifths of its lines. Anything else that branches, waits or returns early
//! makes it an ordinary function.

use syn::{Block, Expr, Local, Stmt, spanned::Spanned, visit::Visit};

/// Whether a function's body is a table.
pub fn is_table(body: &Block) -> bool {
    if all_macros(body) {
        return true;
    }
    let Some(Stmt::Expr(tail, None)) = body.stmts.last() else {
        return false;
    };
    if line_count(tail) * 5 < line_count(body) * 4 {
        return false;
    }
    let mut decisions = DecisionVisitor::default();
    body.stmts.iter().for_each(|it| decisions.visit_stmt(it));
    match tail {
        Expr::Match(_) => decisions.count == 1,
        Expr::Array(_)
        | Expr::Call(_)
        | Expr::Macro(_)
        | Expr::MethodCall(_)
        | Expr::Struct(_)
        | Expr::Tuple(_) => decisions.count == 0,
        _ => false,
    }
}

fn all_macros(body: &Block) -> bool {
    !body.stmts.is_empty()
        && body
            .stmts
            .iter()
            .all(|it| matches!(it, Stmt::Macro(_) | Stmt::Expr(Expr::Macro(_), _)))
}

fn line_count(node: &impl Spanned) -> usize {
    let span = node.span();
    span.end().line + 1 - span.start().line
}

/// Counts the places where a function branches, waits or returns.
#[derive(Default)]
struct DecisionVisitor {
    count: usize,
}

impl<'ast> Visit<'ast> for DecisionVisitor {
    fn visit_expr(&mut self, expression: &'ast Expr) {
        let decides = matches!(
            expression,
            Expr::Async(_)
                | Expr::Await(_)
                | Expr::Block(_)
                | Expr::ForLoop(_)
                | Expr::If(_)
                | Expr::Loop(_)
                | Expr::Match(_)
                | Expr::Return(_)
                | Expr::Try(_)
                | Expr::Unsafe(_)
                | Expr::While(_)
        );
        self.count += usize::from(decides);
        syn::visit::visit_expr(self, expression);
    }

    fn visit_local(&mut self, local: &'ast Local) {
        let diverges = local.init.as_ref().is_some_and(|it| it.diverge.is_some());
        self.count += usize::from(diverges);
        syn::visit::visit_local(self, local);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(body: &str) -> bool {
        is_table(&syn::parse_str(&format!("{{\n{body}\n}}")).unwrap())
    }

    #[test]
    fn lists_are_tables() {
        let (arms, routes) = ("2 if c => d(),\n".repeat(20), ".route(a)\n".repeat(20));
        assert!(table("gauge!(\"a\");\ncounter!(\"b\");"));
        assert!(table(&format!("let a = b();\nmatch a {{\n{arms}}}")));
        assert!(table(&format!("Router::new()\n{routes}")));
    }

    #[test]
    fn functions_that_decide_are_no_tables() {
        let arms = "2 => b(),\n".repeat(20);
        assert!(table(&format!("match a {{\n{arms}}}")));
        assert!(!table(&format!(
            "match a {{\n1 => {{ b(); c() }}\n{arms}}}"
        )));
        assert!(!table(&format!("match a {{\n1 => b()?,\n{arms}}}")));
        assert!(!table(&format!(
            "let Some(a) = d else {{ e() }};\nmatch a {{\n{arms}}}"
        )));
        assert!(!table(&format!(
            "{}match a {{\n{arms}}}",
            "f();\n".repeat(20)
        )));
        assert!(!table("") && !table("if a { b() } else { c() }") && !table("a!();\nb();"));
    }
}
