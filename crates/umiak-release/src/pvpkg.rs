//! `pvpkg.json`: name and version of what a project makes packages of.

use umiak_pvr::Value;
use umiak_spec::Limits;

use crate::error::ReleaseError;

/// The document's file name, in the root of the project.
pub const PVPKG_JSON: &str = "pvpkg.json";

/// The version of a new project.
pub(crate) const FIRST_VERSION: &str = "v0.0.1";

/// The document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pvpkg {
    /// `PACKAGE_NAME`
    pub name: String,
    /// `PACKAGE_VERSION`
    pub version: String,
}

impl Pvpkg {
    /// Reads the document; members that mean nothing to umiak may be there.
    ///
    /// # Errors
    /// [`ReleaseError::Pvpkg`].
    pub fn parse(bytes: &[u8]) -> Result<Self, ReleaseError> {
        let wrong = |why: String| ReleaseError::Pvpkg(why);
        let document = Value::parse(bytes, Limits::default().document)
            .map_err(|error| wrong(format!("it is not JSON: {error}")))?;
        let text = |member: &str| match document.get(member).and_then(Value::as_str) {
            Some(text) if !text.is_empty() => Ok(text.to_owned()),
            _ => Err(wrong(format!("it has no text `{member}`"))),
        };
        Ok(Self { name: text("name")?, version: text("version")? })
    }

    /// The document as container-ci writes it.
    #[must_use]
    pub fn to_text(&self) -> String {
        let members = [("name", &self.name), ("version", &self.version)];
        let members = members.map(|(name, text)| (name, Value::from(text.as_str())));
        let members: Vec<_> = members.iter().map(|(name, value)| (*name, value)).collect();
        umiak_pvr::json::pretty_fields(&members, "", "  ") + "\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_the_seed() {
        let pvpkg = Pvpkg { name: "pvwebstatus".into(), version: "v0.0.1".into() };
        let text = "{\n  \"name\": \"pvwebstatus\",\n  \"version\": \"v0.0.1\"\n}\n";
        assert_eq!(pvpkg.to_text(), text);
        assert_eq!(Pvpkg::parse(text.as_bytes()).unwrap(), pvpkg);
        assert_eq!(Pvpkg::parse(br#"{"name":"a","version":"1","more":[1]}"#).unwrap().name, "a");
        for wrong in ["", "[]", "{}", r#"{"name":"a"}"#, r#"{"name":"","version":"1"}"#, r#"{"name":1,"version":"1"}"#]
        {
            assert!(Pvpkg::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
