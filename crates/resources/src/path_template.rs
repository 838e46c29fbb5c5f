//! Path templates of HTTP channels: `/orders/{id}`, or `/files/{*rest}` for
//! everything below a path.

/// The longest template, in bytes.
const PATH_BYTES_MAX: usize = 1024;

/// Paths that the member or the balancer answer themselves.
const RESERVED: [&str; 4] = [
    "/zato",
    "/zato-lb-alive",
    "/zato-lb-ready",
    "/zato-lb-stats",
];

/// Path that is no template, with what would be right.
#[derive(Debug, thiserror::Error)]
pub(super) enum InvalidPath {
    #[error(
        "must be a path such as /orders/{{id}}: it begins with `/` and has at most {PATH_BYTES_MAX} bytes"
    )]
    NoPath,
    #[error(
        "must not be /zato, below /zato/, /zato-lb-alive, /zato-lb-ready or /zato-lb-stats: these are reserved"
    )]
    Reserved,
    #[error("has {{*{0}}} before its end: it takes the whole rest of the path")]
    RestNotLast(String),
    #[error("has the parameter {{{0}}} twice: each needs a name of its own")]
    ParameterTwice(String),
    #[error(
        "has a parameter {{{0}}}: its name must be 1 to 64 letters, digits or `_`, and not begin with a digit"
    )]
    ParameterName(String),
    #[error("has braces that do not enclose a whole segment in {0:?}: write /{{id}}/")]
    Braces(String),
    #[error("has an empty segment, `.` or `..`: no request's path would match it")]
    NoSegment,
    #[error(
        "has {character:?} in {segment:?}: characters that a URL's path can't carry are written as %XX"
    )]
    Character { character: char, segment: String },
}

/// One segment of a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathSegment<'a> {
    /// This text, percent-encoded as it was written.
    Text(&'a str),
    /// Any text but none, under this name.
    Parameter(&'a str),
    /// The rest of the path, under this name; always the last segment.
    Rest(&'a str),
}

/// What the shape of a template is or begins with that overlaps another: see
/// [`PathTemplate::overlapping_shapes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShapeOverlap {
    /// It is exactly this.
    At(String),
    /// It begins with this.
    Below(String),
}

/// How a parameter and the rest of a path stand in a shape.
const PARAMETER: &str = "{}/";
const REST: &str = "{*}/";

/// A template, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate<'a>(Vec<PathSegment<'a>>);

impl<'a> PathTemplate<'a> {
    /// Takes apart a path that [`PathTemplate::check`] has passed.
    pub fn new(path: &'a str) -> Self {
        let segment = |text: &'a str| match text
            .strip_prefix('{')
            .and_then(|text| text.strip_suffix('}'))
        {
            Some(name) => match name.strip_prefix('*') {
                Some(name) => PathSegment::Rest(name),
                None => PathSegment::Parameter(name),
            },
            None => PathSegment::Text(text),
        };
        PathTemplate(
            path.strip_prefix('/')
                .unwrap_or(path)
                .split('/')
                .map(segment)
                .collect(),
        )
    }

    /// Whether a path could match both templates, neither being the more specific one.
    /// At each segment a text is more specific than a parameter, and both of them can
    /// stand beside each other; `{a}` and `{*a}` at the same place can not.
    pub fn overlaps(&self, other: &PathTemplate<'_>) -> bool {
        for (mine, theirs) in self.0.iter().zip(&other.0) {
            match (mine, theirs) {
                (PathSegment::Text(a), PathSegment::Text(b)) if a == b => {}
                (PathSegment::Parameter(_), PathSegment::Parameter(_)) => {}
                (PathSegment::Rest(_), PathSegment::Rest(_) | PathSegment::Parameter(_))
                | (PathSegment::Parameter(_), PathSegment::Rest(_)) => return true,
                _ => return false,
            }
        }
        self.0.len() == other.0.len()
    }

    /// The template without the names of its parameters and without what follows the rest of
    /// the path. Each segment ends with a slash, so that no shape begins with a part of
    /// another's segment.
    pub fn shape(&self) -> String {
        let mut shape = String::new();
        for segment in &self.0 {
            match segment {
                PathSegment::Text(text) => {
                    shape.push_str(text);
                    shape.push('/');
                }
                PathSegment::Parameter(_) => shape.push_str(PARAMETER),
                PathSegment::Rest(_) => {
                    shape.push_str(REST);
                    break;
                }
            }
        }
        shape
    }

    /// Where the shapes are of all templates that overlap this one, and of no others.
    pub fn overlapping_shapes(&self) -> Vec<ShapeOverlap> {
        let mut meetings = Vec::new();
        let mut before = String::new();
        for segment in &self.0 {
            match segment {
                PathSegment::Text(text) => {
                    before.push_str(text);
                    before.push('/');
                }
                PathSegment::Parameter(_) => {
                    meetings.push(ShapeOverlap::At(format!("{before}{REST}")));
                    before.push_str(PARAMETER);
                }
                PathSegment::Rest(_) => {
                    meetings.push(ShapeOverlap::Below(format!("{before}{PARAMETER}")));
                    before.push_str(REST);
                    break;
                }
            }
        }
        meetings.push(ShapeOverlap::At(before));
        meetings
    }

    /// Its segments, in their order.
    pub fn segments(&self) -> &[PathSegment<'a>] {
        &self.0
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &'a str> + '_ {
        self.0.iter().filter_map(|segment| match segment {
            PathSegment::Text(_) => None,
            PathSegment::Parameter(name) | PathSegment::Rest(name) => Some(*name),
        })
    }

    /// Whether its braces are of the sort that this program knows, whatever the rules say of
    /// the rest: which other templates it overlaps hangs on nothing else.
    pub(super) fn is_known(&self) -> bool {
        let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let rest = self
            .0
            .iter()
            .position(|it| matches!(it, PathSegment::Rest(_)));
        rest.is_none_or(|at| at + 1 == self.0.len())
            && self.0.iter().all(|segment| match segment {
                PathSegment::Text(text) => !text.contains(['{', '}']),
                PathSegment::Parameter(name) | PathSegment::Rest(name) => plain(name),
            })
    }

    /// Whether a path is a template; the error says what would be right.
    pub(super) fn check(path: &str) -> Result<(), InvalidPath> {
        if !path.starts_with('/') || path.len() > PATH_BYTES_MAX {
            return Err(InvalidPath::NoPath);
        }
        let taken = RESERVED.iter().any(|taken| {
            path.strip_prefix(taken)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        if taken {
            return Err(InvalidPath::Reserved);
        }
        let template = PathTemplate::new(path);
        let segments = template.0.len();
        for (position, segment) in template.0.iter().enumerate() {
            let last = position + 1 == segments;
            match segment {
                // a path may end with a slash; it is another path than without it
                PathSegment::Text("") if last => {}
                PathSegment::Text(text) => text_segment(text)?,
                PathSegment::Parameter(name) => parameter(name)?,
                PathSegment::Rest(name) if last => parameter(name)?,
                PathSegment::Rest(name) => return Err(InvalidPath::RestNotLast((*name).into())),
            }
        }
        let mut names: Vec<&str> = template.parameters().collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(InvalidPath::ParameterTwice(pair[0].into())),
            None => Ok(()),
        }
    }
}

fn parameter(name: &str) -> Result<(), InvalidPath> {
    let valid = (1..=64).contains(&name.len())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    valid
        .then_some(())
        .ok_or_else(|| InvalidPath::ParameterName(name.into()))
}

fn text_segment(text: &str) -> Result<(), InvalidPath> {
    if text.contains(['{', '}']) {
        return Err(InvalidPath::Braces(text.into()));
    }
    if text.is_empty() || text == "." || text == ".." {
        return Err(InvalidPath::NoSegment);
    }
    let mut rest = text.chars();
    while let Some(character) = rest.next() {
        let escaped = character == '%'
            && rest.next().is_some_and(|c| c.is_ascii_hexdigit())
            && rest.next().is_some_and(|c| c.is_ascii_hexdigit());
        let is_plain = character.is_ascii_alphanumeric() || "-._~!$&'()*+,;=:@".contains(character);
        if !(escaped || is_plain) {
            let segment = text.into();
            return Err(InvalidPath::Character { character, segment });
        }
    }
    Ok(())
}
