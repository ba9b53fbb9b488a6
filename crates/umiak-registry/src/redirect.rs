//! Where a redirect leads, and whether that is still the server that was asked.
//!
//! Guarantees: scheme, host and port decide what one server is, so that credentials never follow to another port
//! either; what was asked for over https is never fetched over http.

/// Redirects of one request that are followed.
pub(crate) const MOST: u32 = 10;

/// The address that `location` means when `from` answered with it; `None` when it may not be followed.
pub(crate) fn follow(from: &str, location: &str) -> Option<String> {
    let (scheme, rest) = from.split_once("://")?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let to = if has_scheme(location) {
        location.to_owned()
    } else if let Some(other) = location.strip_prefix("//") {
        format!("{scheme}://{other}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else {
        let path = path.split(['?', '#']).next().unwrap_or("");
        let directory = path.rfind('/').map_or("/", |slash| &path[..=slash]);
        format!("{scheme}://{host}{directory}{location}")
    };
    let to_scheme = to.split_once("://")?.0.to_ascii_lowercase();
    (to_scheme == "https" || to_scheme == "http" && scheme == "http").then_some(to)
}

/// Whether `location` begins with a scheme; `://` further behind is part of a query.
fn has_scheme(location: &str) -> bool {
    let scheme = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    location.split_once("://").is_some_and(|(before, _)| !before.is_empty() && scheme(before))
}

/// Whether two addresses are of one server.
pub(crate) fn same_server(one: &str, other: &str) -> bool {
    let server = |address: &str| {
        let (scheme, rest) = address.split_once("://")?;
        let host = rest.split(['/', '?', '#']).next()?.to_ascii_lowercase();
        let scheme = scheme.to_ascii_lowercase();
        let usual = if scheme == "https" { ":443" } else { ":80" };
        Some((host.strip_suffix(usual).unwrap_or(&host).to_owned(), scheme))
    };
    server(one).is_some() && server(one) == server(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locations_are_absolute_or_relative() {
        let from = "https://a.example:5000/v2/x/blobs/y?z=1";
        for (location, to) in [
            ("https://b.example/c?d", Some("https://b.example/c?d")),
            ("//b.example/c", Some("https://b.example/c")),
            ("/c", Some("https://a.example:5000/c")),
            ("c", Some("https://a.example:5000/v2/x/blobs/c")),
            ("/c?from=http://d.example", Some("https://a.example:5000/c?from=http://d.example")),
            ("http://b.example/c", None),
            ("file:///etc/passwd", None),
        ] {
            assert_eq!(follow(from, location).as_deref(), to, "{location}");
        }
        assert_eq!(follow("http://a.example", "b").as_deref(), Some("http://a.example/b"));
    }

    proptest::proptest! {
        #[test]
        fn what_was_asked_for_over_https_stays_encrypted(
            location in "(https?|HTTP|ftp|file|x)?(:|//|/)*([a-z]{1,3}|@|:|\\?|#|/|://|\\PC){0,8}",
            scheme in "https?",
        ) {
            let from = format!("{scheme}://a.example:5000/v2/x?y=z");
            if let Some(to) = follow(&from, &location) {
                let lower = to.to_ascii_lowercase();
                proptest::prop_assert!(lower.starts_with("https://") || (scheme == "http" && lower.starts_with("http://")), "{}", to);
            }
        }
    }

    #[test]
    fn a_server_is_scheme_host_and_port() {
        assert!(same_server("https://a.example/x", "https://A.example:443/y?z"));
        for other in
            ["http://a.example/x", "https://a.example:444/x", "https://b.example/x", "https://x@a.example/x", "x"]
        {
            assert!(!same_server("https://a.example/x", other), "{other}");
        }
    }
}
