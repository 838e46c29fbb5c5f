//! Element of a folder; a folder is one itself.

/// Name with a text or with further elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FolderElement {
    /// Name.
    pub name: String,
    /// Type of the value (`dt`); without one it is a string.
    pub kind: Option<String>,
    /// True if the element has no value at all (`xsi:nil`), which is not the empty one.
    pub nil: bool,
    /// Value; empty where the element has elements.
    pub text: String,
    /// Elements in the element.
    pub children: Vec<FolderElement>,
}

impl FolderElement {
    /// Returns an element with a text.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        FolderElement {
            name: name.into(),
            text: text.into(),
            ..FolderElement::default()
        }
    }

    /// Returns an element with elements in it.
    pub fn folder(name: impl Into<String>, children: Vec<FolderElement>) -> Self {
        FolderElement {
            name: name.into(),
            children,
            ..FolderElement::default()
        }
    }

    /// Returns the text of the element of this name in this one.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.children
            .iter()
            .find(|child| child.name == name && !child.nil)
            .map(|child| child.text.as_str())
    }
}
