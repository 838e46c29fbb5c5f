//! The export of resources as the YAML that `quorate apply` reads.

use quorate_resources::{Kind, Resource};
use serde_json::Value;
use serde_norway::{Mapping, Value as Yaml};

/// Writes the resources, those that others need first, without their secrets: where they
/// are applied, secrets that are there stay as they are.
pub fn export(resources: impl IntoIterator<Item = (Kind, Value)>) -> String {
    let mut resources: Vec<(Kind, Value)> = resources.into_iter().collect();
    resources.sort_by(|(a_kind, a), (b_kind, b)| {
        a_kind
            .cmp(b_kind)
            .then_with(|| a["name"].as_str().cmp(&b["name"].as_str()))
    });
    let mut out = String::new();
    for (kind, mut resource) in resources {
        let secret = kind.secret_field();
        let read = Resource::read(kind, &resource).ok();
        let takes_one = read.as_ref().is_some_and(Resource::takes_a_secret);
        let may_lack_it = read.is_none_or(|it| it.may_lack_its_secret());
        let fields = resource
            .as_object_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        let mut document = Mapping::new();
        document.insert("kind".into(), kind.as_str().into());
        // the name first: it is what people look for
        let is_secret = |field: &str| Some(field) == secret;
        // One that is used by its name is no secret itself.
        let is_named = fields
            .iter()
            .any(|(field, value)| is_secret(field) && value.is_object());
        let (name, others): (Vec<_>, Vec<_>) = fields
            .into_iter()
            .filter(|(field, value)| !is_secret(field) || value.is_object())
            .partition(|(field, _)| field == "name");
        for (field, value) in name.into_iter().chain(others) {
            document.insert(field.into(), yaml(value));
        }
        out.push_str("---\n");
        out.push_str(
            &serde_norway::to_string(&document)
                .expect("invariant: a map with text keys can be written as YAML"),
        );
        if let Some(secret) = secret.filter(|_| takes_one && !is_named) {
            let one = if may_lack_it {
                ", if there is one,"
            } else {
                ""
            };
            out.push_str(&format!(
                "# {secret} is not exported: add it{one} to create this resource where it does not exist yet\n"
            ));
        }
    }
    out
}

fn yaml(value: Value) -> Yaml {
    serde_norway::to_value(value).expect("invariant: JSON is YAML")
}
