use proptest::prelude::*;
use quorate_state::{Command, Machine};
use serde_json::json;

use super::*;

fn channel(name: &str, path: &str, methods: &[&str]) -> Arc<HttpChannel> {
    Arc::new(HttpChannel {
        name: name.into(),
        path: path.into(),
        methods: methods.iter().map(|method| method.to_string()).collect(),
        service: "echo".into(),
        security: None,
        security_all: None,
        rate_limit: None,
        active: true,
        max_body_bytes: 1,
    })
}

fn router(channels: &[(&str, &str, &[&str])]) -> ChannelRouter {
    let mut router = ChannelRouter::default();
    for (name, path, methods) in channels {
        router.root.add(&channel(name, path, methods));
    }
    router
}

/// The name of the channel with its parameters, `405` with what is allowed, or `404`.
fn found(router: &ChannelRouter, method: &str, path: &str) -> String {
    match router.find(&method.parse().unwrap(), path) {
        Ok(RouteMatch::Route { channel, params }) => {
            let params = params
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            channel.name.clone() + &params.collect::<String>()
        }
        Ok(RouteMatch::WrongMethod(allowed)) => format!("405 {allowed}"),
        Ok(RouteMatch::Nothing) => "404".into(),
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
        ("GET", "/files/", "files rest="),
        ("GET", "/files", "404"),
        ("GET", "/files//", "files rest=/"),
        ("PUT", "/files/", "405 GET, HEAD"),
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
fn clashing_channel_leaves_the_other_alone() {
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
                    return Some([ranks, vec![2]].concat());
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
    fn router_agrees_with_a_plain_search(
        templates in prop::collection::vec(
            prop::collection::vec(prop::sample::select(vec!["a", "b", "{x}", "{*r}"]), 1..4), 0..8),
        path in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", ""]), 1..5),
    ) {
        let mut router = ChannelRouter::default();
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
            router.root.add(&new);
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

/// A change of one of a few channels, some of which are in the way of others.
fn change() -> impl Strategy<Value = Command> {
    let path = prop::sample::select(
        &[
            "/a", "/a/", "/a/b", "/a/{x}", "/a/{y}/b", "/{z}/b", "/a/{*r}", "/%61", "/c/d/e/f",
        ][..],
    );
    let methods = prop::sample::subsequence(&["GET", "POST", "PUT"][..], 1..3);
    let name = prop::sample::select(&["1", "2", "3", "4", "5"][..]);
    let kind = Kind::HttpChannel;
    (name, path, methods, prop::bool::weighted(0.8), prop::bool::weighted(0.75)).prop_map(
        move |(name, path, methods, active, put)| match put {
            true => Command::PutResource {
                kind,
                name: name.into(),
                spec: json!({"name": name, "path": path, "methods": methods, "service": "s", "active": active})
                    .to_string()
                    .into(),
                precondition: None,
            },
            false => Command::DeleteResource { kind, name: name.into(), precondition: None },
        },
    )
}

proptest! {
    /// Looked at after some of the changes and not after others, as requests come.
    #[test]
    fn incremental_router_equals_the_rebuilt_one(
        changes in prop::collection::vec((change(), any::<bool>()), 1..40),
    ) {
        let mut machine = Machine::default();
        let service = json!({"name": "s", "builtin": "echo"}).to_string().into();
        let announce = Command::AnnounceProgram {
            member: 1,
            services: vec!["echo".into()],
            version: String::new(),
            failover_ms: None,
        };
        machine.apply(1, 1, 1, &announce);
        let put = Command::PutResource {
            kind: Kind::Service,
            name: "s".into(),
            spec: service,
            precondition: None,
        };
        prop_assert!(machine.apply(2, 1, 1, &put).0.changed());
        let mut router = ChannelRouter::from_catalog(machine.state().catalog(), None);
        for (index, (change, looked_at)) in (3..).zip(changes) {
            machine.apply(index, 1, 1, &change);
            if looked_at {
                let catalog = machine.state().catalog();
                router = ChannelRouter::from_catalog(catalog, Some(&router));
                prop_assert_eq!(&router.root, &ChannelRouter::from_catalog(catalog, None).root);
            }
        }
    }
}

/// A catalog with so many channels, and the same with one more.
fn catalogs(channels: u64) -> (Catalog, Catalog) {
    let mut machine = Machine::default();
    let mut put = |index, kind, name: String, spec: serde_json::Value| {
        let spec = spec.to_string().into();
        let put = Command::PutResource {
            kind,
            name,
            spec,
            precondition: None,
        };
        assert!(machine.apply(index, 1, 1, &put).0.changed());
        machine.state().catalog().clone()
    };
    let service = json!({"name": "s", "upstream": "http://127.0.0.1:9"});
    put(1, Kind::Service, "s".into(), service);
    let mut channel = |n: u64| {
        let spec =
            json!({"name": format!("c{n}"), "path": format!("/c/{n}/{{id}}"), "service": "s"});
        put(n + 2, Kind::HttpChannel, format!("c{n}"), spec)
    };
    let mut before = channel(0);
    for n in 1..channels {
        before = channel(n);
    }
    (before, channel(channels))
}

#[test]
fn change_costs_the_same_among_many_channels() {
    // built whole it costs ten times as much
    let best = |channels| {
        let (before, after) = catalogs(channels);
        let router = ChannelRouter::from_catalog(&before, None);
        let time = || {
            let begun = quorate_clock::Instant::now();
            let made = ChannelRouter::from_catalog(&after, Some(&router));
            (begun.elapsed(), made)
        };
        (0..20).map(|_| time().0).min().unwrap()
    };
    let (few, many) = (best(2_000), best(20_000));
    assert!(
        many < few * 5,
        "{few:?} among 2,000 and {many:?} among 20,000"
    );
}
