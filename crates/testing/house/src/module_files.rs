//! Files of modules: where `mod name;` leads to, and which files cargo starts with.

use syn::{Attribute, Expr, ExprLit, ItemMod, Lit, Meta};

/// A `mod name;` without a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModuleDeclaration {
    name: String,
    /// Inline modules around it, outermost first.
    parents: Vec<String>,
    /// Value of a `#[path]` attribute.
    path: Option<String>,
}

impl ModuleDeclaration {
    /// Returns the declaration, or `None` for a module whose body stands in the same file.
    pub fn from_item(module: &ItemMod, parents: &[String]) -> Option<ModuleDeclaration> {
        module.content.is_none().then(|| ModuleDeclaration {
            name: plain_name(&module.ident),
            parents: parents.to_owned(),
            path: module.attrs.iter().find_map(path_attribute),
        })
    }

    /// Returns the files that may hold the module, given the file that declares it.
    pub fn candidates(&self, declaring: &str) -> Vec<String> {
        let inner: String = self.parents.iter().map(|name| format!("{name}/")).collect();
        if let Some(path) = &self.path {
            let folder = parent_folder(declaring);
            return vec![normalized(&format!("{folder}{inner}{path}"))];
        }
        let home = format!("{}{inner}{}", module_folder(declaring), self.name);
        vec![format!("{home}.rs"), format!("{home}/mod.rs")]
    }
}

/// Returns the name of an identifier without `r#`.
pub fn plain_name(ident: &syn::Ident) -> String {
    let name = ident.to_string();
    name.strip_prefix("r#").map_or(name.clone(), str::to_owned)
}

/// Whether cargo builds a library or a program from this file, given from its package's folder.
pub fn is_crate_root(inside: &str) -> bool {
    let parts: Vec<&str> = inside.split('/').collect();
    matches!(
        parts.as_slice(),
        ["src", "lib.rs" | "main.rs"] | ["src", "bin", _] | ["src", "bin", _, "main.rs"]
    )
}

/// Returns the folder, with `/` at its end, in which a file's child modules stand.
pub fn module_folder(path: &str) -> String {
    let folder = parent_folder(path);
    let file = &path[folder.len()..];
    let is_root = matches!(file, "mod.rs" | "lib.rs" | "main.rs") || folder.ends_with("src/bin/");
    if is_root {
        folder.to_owned()
    } else {
        format!("{folder}{}/", file.trim_end_matches(".rs"))
    }
}

fn parent_folder(path: &str) -> &str {
    path.rfind('/').map_or("", |at| &path[..=at])
}

fn path_attribute(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else {
        return None;
    };
    match &pair.value {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) if pair.path.is_ident("path") => Some(text.value()),
        _ => None,
    }
}

fn normalized(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(text: &str, declaring: &str, parents: &[&str]) -> Vec<String> {
        let parents: Vec<String> = parents.iter().map(|name| (*name).to_owned()).collect();
        let module = syn::parse_str(text).unwrap();
        ModuleDeclaration::from_item(&module, &parents)
            .unwrap()
            .candidates(declaring)
    }

    #[test]
    fn declared_modules_are_looked_for_beside() {
        let beside = candidates("mod a;", "raft/src/lib.rs", &[]);
        assert_eq!(beside, ["raft/src/a.rs", "raft/src/a/mod.rs"]);
        let below = candidates("mod a;", "src/b.rs", &["c"]);
        assert_eq!(below, ["src/b/c/a.rs", "src/b/c/a/mod.rs"]);
        let program = candidates("mod a;", "src/bin/p.rs", &[]);
        assert_eq!(program, ["src/bin/a.rs", "src/bin/a/mod.rs"]);
        let elsewhere = candidates("#[path = \"../x/a.rs\"] mod b;", "src/c/d.rs", &[]);
        assert_eq!(elsewhere, ["src/x/a.rs"]);
    }

    #[test]
    fn crate_roots_are_distinguished_from_modules() {
        let roots = [
            "src/lib.rs",
            "src/main.rs",
            "src/bin/a.rs",
            "src/bin/a/main.rs",
        ];
        assert!(roots.iter().all(|path| is_crate_root(path)));
        let others = ["src/a.rs", "src/a/main.rs", "build.rs", "src/bin/a/b.rs"];
        assert!(!others.iter().any(|path| is_crate_root(path)));
    }
}
