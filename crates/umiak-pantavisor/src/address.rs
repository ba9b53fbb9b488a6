//! How people name a device: its control socket, its address, an URL; each with `#PARTS` or without.
//!
//! A text that is none of these is a path for somebody else. The file system is asked one thing only: whether a path is
//! a socket.

use std::fmt;
use std::net::IpAddr;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

use umiak_pvr::Parts;

/// Where Pantavisor has its control socket: on the device itself, and in containers.
pub const SOCKETS: [&str; 3] = ["/run/pantavisor/pv/pv-ctrl", "/pv/pv-ctrl", "/pantavisor/pv-ctrl"];

/// Where pvr's remote is on a device that is named by its IP address.
const REMOTE: &str = ":12368/cgi-bin/pvr";

/// Where a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// Its control socket.
    Control(PathBuf),
    /// The URL of its remote, without a `/` at its end.
    Remote(String),
}

/// Why a text that looks like an address is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// `ftp://…`
    #[error("`{0}` begins with a scheme that devices do not speak")]
    Scheme(String),
    /// `http://`, `unix:`
    #[error("`{0}` names no device")]
    Empty(String),
}

impl Address {
    /// Reads `PLACE[#PARTS]`; `None` when `PLACE` is the path of a directory or file.
    ///
    /// # Errors
    /// [`AddressError`] when it can be no path and is no address either.
    pub fn find(text: &str) -> Result<Option<(Self, Parts)>, AddressError> {
        let (place, parts) = text.split_once('#').unwrap_or((text, ""));
        Ok(Self::of(place)?.map(|address| (address, Parts::parse(parts))))
    }

    fn of(place: &str) -> Result<Option<Self>, AddressError> {
        let empty = || AddressError::Empty(shown(place));
        if let Some(path) = place.strip_prefix("unix:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return if path.is_empty() { Err(empty()) } else { Ok(Some(Self::Control(path.into()))) };
        }
        if let Some((scheme, rest)) = place.split_once("://") {
            let scheme = scheme.to_ascii_lowercase();
            return match scheme.as_str() {
                "http" | "https" if rest.trim_matches('/').is_empty() => Err(empty()),
                "http" | "https" => Ok(Some(Self::Remote(format!("{scheme}://{}", rest.trim_end_matches('/'))))),
                _ => Err(AddressError::Scheme(shown(place))),
            };
        }
        let bare = place.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(place);
        match bare.parse() {
            Ok(IpAddr::V4(ip)) => return Ok(Some(Self::Remote(format!("http://{ip}{REMOTE}")))),
            Ok(IpAddr::V6(ip)) => return Ok(Some(Self::Remote(format!("http://[{ip}]{REMOTE}")))),
            Err(_) => {}
        }
        let socket = std::fs::metadata(place).is_ok_and(|metadata| metadata.file_type().is_socket());
        Ok(socket.then(|| Self::Control(place.into())))
    }

    /// The control socket of the device that this runs on, if it runs on one.
    #[must_use]
    pub fn here() -> Option<Self> {
        SOCKETS.iter().find_map(|path| Self::of(path).ok().flatten())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Control(path) => write!(f, "unix:{}", path.display()),
            Self::Remote(url) => f.write_str(url),
        }
    }
}

fn shown(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<String> {
        Address::find(text).unwrap().map(|(address, parts)| format!("{address}#{parts}"))
    }

    #[test]
    fn addresses_are_told_from_paths() {
        for (text, address) in [
            ("192.168.1.2", "http://192.168.1.2:12368/cgi-bin/pvr#"),
            ("192.168.1.2#os,-os/x", "http://192.168.1.2:12368/cgi-bin/pvr#os,-os/x"),
            ("fe80::1", "http://[fe80::1]:12368/cgi-bin/pvr#"),
            ("[::1]#web", "http://[::1]:12368/cgi-bin/pvr#web"),
            ("http://kiosk.local:12368/", "http://kiosk.local:12368#"),
            ("HTTPS://pvr.example/me/kiosk/7", "https://pvr.example/me/kiosk/7#"),
            ("unix:/pv/pv-ctrl#os", "unix:/pv/pv-ctrl#os"),
            ("unix:///pv/pv-ctrl", "unix:/pv/pv-ctrl#"),
        ] {
            assert_eq!(found(text).as_deref(), Some(address), "{text}");
        }
        for path in ["device", "./192.168.1.2", "a/b.tgz#web", "1.2.3", "/dev/null", "me/kiosk", ""] {
            assert_eq!(found(path), None, "{path}");
        }
        for wrong in ["ftp://a/b", "unix:", "http://", "https:///"] {
            assert!(Address::find(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_path_an_address_or_an_error(text in "(unix:|http://|HTTPS://|ftp://|\\[)?\\PC{0,12}(#\\PC{0,6})?") {
            if let Ok(Some((address, _))) = Address::find(&text) {
                proptest::prop_assert_eq!(Address::of(&address.to_string()), Ok(Some(address)));
            }
        }
    }

    #[test]
    fn a_path_that_is_a_socket_is_a_control_socket() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("pv-ctrl");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let text = path.to_str().unwrap();
        assert_eq!(found(text), Some(format!("unix:{text}#")));
        assert_eq!(found(place.path().to_str().unwrap()), None);
    }
}
