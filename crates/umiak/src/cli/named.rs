//! How devices are named on the command line, for the help of all verbs that take one.

macro_rules! parts {
    () => {
        "with parts: `web.tgz#web,_config/web,-web/notes`. A part is a directory at the top or a single key; a part behind \
         `-` is left out."
    };
}

macro_rules! addresses {
    () => {
        "A Pantavisor device's address is its IP address, the URL of its remote (http://10.0.0.7:12368/cgi-bin/pvr), or, \
         on the device itself, its control socket (unix:/run/pantavisor/pv/pv-ctrl, or just the path)."
    };
}

/// For verbs that talk to a device as a whole.
pub const ADDRESSES: &str = addresses!();

/// For verbs that take a directory or a package.
pub const DIRECTORIES: &str = concat!("A device is named by a directory, by a package file, or by either ", parts!());

/// For verbs that take either.
pub const ANYWHERE: &str = concat!(
    "A device is named by a directory, by a package file, or by its address; and by any of them ",
    parts!(),
    "\n\n",
    addresses!()
);
