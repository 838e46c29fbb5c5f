//! An element of a folder; a folder is one.

/// A name with a text or with further elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderElement {
    /// Its name.
    pub name: String,
    /// The type of its value (`dt`); without one it is a string.
    pub kind: Option<String>,
    /// It has no value at all (`xsi:nil`), which is not the empty one.
    pub nil: bool,
    /// Its value; empty where it has elements.
    pub text: String,
    /// The elements in it.
    pub children: Vec<FolderElement>,
}

impl FolderElement {
    /// One with a text.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        FolderElement {
            name: name.into(),
            text: text.into(),
            ..FolderElement::default()
        }
    }

    /// One with elements in it.
    pub fn folder(name: impl Into<String>, children: Vec<FolderElement>) -> Self {
        FolderElement {
            name: name.into(),
            children,
            ..FolderElement::default()
        }
    }

    /// The text of the element of this name in it.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.children
            .iter()
            .find(|child| child.name == name && !child.nil)
            .map(|child| child.text.as_str())
    }
}
