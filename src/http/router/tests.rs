use proptest::prelude::*;

use super::*;

fn channel(name: &str, path: &str, methods: &[&str]) -> Arc<HttpChannel> {
    Arc::new(HttpChannel {
        name: name.into(),
        path: path.into(),
        methods: methods.iter().map(|method| method.to_string()).collect(),
        service: "echo".into(),
        security: None,
        active: true,
        max_body_bytes: 1,
    })
}

fn router(channels: &[(&str, &str, &[&str])]) -> Router {
    let mut router = Router::default();
    for (name, path, methods) in channels {
        router.add(channel(name, path, methods), Guard::Open);
    }
    router
}

/// The name of the channel with its parameters, `405` with what is allowed, or `404`.
fn found(router: &Router, method: &str, path: &str) -> String {
    match router.find(&method.parse().unwrap(), path) {
        Ok(Found::Route { route, params }) => {
            let params = params
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            route.channel.name.clone() + &params.collect::<String>()
        }
        Ok(Found::WrongMethod(allowed)) => format!("405 {allowed}"),
        Ok(Found::Nothing) => "404".into(),
        Err(bad) => format!("400 {bad:?}"),
    }
}

#[test]
fn table() {
    let router = router(&[
        ("list", "/orders", &["GET"]),
        ("make", "/orders", &["POST"]),
        ("one", "/orders/{id}", &["GET"]),
        ("drop", "/orders/{order}", &["DELETE"]),
        ("new", "/orders/new", &["GET"]),
        ("lines", "/orders/{id}/lines/{line}", &["GET"]),
        ("files", "/files/{*rest}", &["GET"]),
        ("file", "/files/{name}", &["PUT"]),
        ("slash", "/orders/", &["PUT"]),
        ("cafe", "/caf%C3%A9", &["GET"]),
        ("own-head", "/head", &["GET"]),
        ("head", "/head", &["HEAD"]),
        ("root", "/", &["GET"]),
    ]);
    for (method, path, expected) in [
        ("GET", "/orders", "list"),
        ("POST", "/orders", "make"),
        ("PUT", "/orders", "405 GET, HEAD, POST"),
        ("HEAD", "/orders", "list"),
        ("GET", "/orders/7", "one id=7"),
        ("DELETE", "/orders/7", "drop order=7"),
        ("DELETE", "/orders/new", "drop order=new"),
        ("GET", "/orders/new", "new"),
        ("GET", "/orders/a%20b", "one id=a b"),
        ("GET", "/orders/a%2Fb", "one id=a/b"),
        ("GET", "/orders/a%2fb", "one id=a/b"),
        ("GET", "/orders/a%252Fb", "one id=a%2Fb"),
        ("GET", "/orders/{id}", "one id={id}"),
        ("GET", "/%6Frders", "list"),
        ("GET", "/orders/7/lines/2", "lines id=7 line=2"),
        ("GET", "/orders/7/lines", "404"),
        ("GET", "/orders/", "405 PUT"),
        ("PUT", "/orders/", "slash"),
        ("GET", "/orders//", "404"),
        ("GET", "//orders", "404"),
        ("GET", "/Orders", "404"),
        ("GET", "/orders/../orders", "404"),
        ("GET", "/files/a/b%20c", "files rest=a/b c"),
        ("PUT", "/files/a", "file name=a"),
        ("PUT", "/files/a/b", "405 GET, HEAD"),
        ("GET", "/café", "cafe"),
        ("GET", "/caf%c3%a9", "cafe"),
        ("HEAD", "/head", "head"),
        ("GET", "/head", "own-head"),
        ("BREW", "/head", "405 GET, HEAD"),
        ("GET", "/", "root"),
        ("GET", "/nowhere", "404"),
        ("GET", "/orders/%", "400 Escape"),
        ("GET", "/orders/%ff", "400 Utf8"),
    ] {
        assert_eq!(found(&router, method, path), expected, "{method} {path}");
    }
}

#[test]
fn a_channel_that_cannot_stand_beside_another_leaves_it_alone() {
    let router = router(&[("a", "/x/{a}", &["GET"]), ("b", "/x/{b}", &["GET", "PUT"])]);
    assert_eq!(found(&router, "GET", "/x/1"), "a a=1");
    assert_eq!(found(&router, "PUT", "/x/1"), "b b=1");
}

/// What the router promises, said plainly: segment by segment, a text before a parameter
/// before the rest of the path.
fn by_hand(templates: &[String], path: &[&str]) -> Option<String> {
    fn specific(template: &str, path: &[&str]) -> Option<Vec<u8>> {
        let segments: Vec<&str> = template[1..].split('/').collect();
        let mut ranks = Vec::new();
        for (at, segment) in segments.iter().enumerate() {
            let piece = path.get(at)?;
            ranks.push(match segment {
                rest if rest.starts_with("{*") => {
                    let rest = path[at..].join("/");
                    return (!rest.is_empty()).then(|| [ranks, vec![2]].concat());
                }
                parameter if parameter.starts_with('{') && !piece.is_empty() => 1,
                text if text == piece => 0,
                _ => return None,
            });
        }
        (segments.len() == path.len()).then_some(ranks)
    }
    templates
        .iter()
        .filter_map(|template| Some((specific(template, path)?, template)))
        .min()
        .map(|(_, template)| template.clone())
}

proptest! {
    #[test]
    fn finds_what_a_plain_reading_finds(
        templates in prop::collection::vec(
            prop::collection::vec(prop::sample::select(vec!["a", "b", "{x}", "{*r}"]), 1..4), 0..8),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "c"]), 1..5),
    ) {
        let mut router = Router::default();
        let mut kept: Vec<String> = Vec::new();
        for segments in templates {
            let end = segments.iter().position(|it| it.starts_with("{*")).map_or(segments.len(), |at| at + 1);
            let segments: Vec<String> = segments[..end]
                .iter()
                .enumerate()
                .map(|(at, segment)| segment.replace('x', &format!("x{at}")))
                .collect();
            let template = format!("/{}", segments.join("/"));
            let new = channel(&template, &template, &["GET"]);
            // As the catalog does.
            if kept.iter().any(|old| channel("", old, &["GET"]).overlaps(&new)) {
                continue;
            }
            router.add(new, Guard::Open);
            kept.push(template);
        }
        let expected = by_hand(&kept, &path).unwrap_or("404".into());
        let answer = found(&router, "GET", &format!("/{}", path.join("/")));
        prop_assert_eq!(answer.split(' ').next().unwrap(), expected.as_str(), "{:?}", kept);
    }

    #[test]
    fn any_path_gets_an_answer(path in "/[ -~]{0,40}") {
        let router = router(&[("one", "/{a}", &["GET"]), ("rest", "/x/{*b}", &["GET"])]);
        found(&router, "GET", &path);
        found(&router, "POST", &path);
    }
}
