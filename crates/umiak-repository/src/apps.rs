//! The apps of a device directory, as directories.

use std::fs;
use std::path::PathBuf;

use umiak_pvr::app::{SRC_JSON, SourceDocument, SourceError, check_name};
use umiak_spec::{Limits, Observer};

use crate::error::{Error, IoContext};
use crate::read_file;
use crate::repository::Repository;

impl Repository {
    /// Names of the apps: directories at the top with a `src.json` that is not of another format (as a board support
    /// package's is). Sorted.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be listed.
    pub fn apps(&self) -> Result<Vec<String>, Error> {
        let mut apps = Vec::new();
        for entry in fs::read_dir(self.root()).at("list", self.root())? {
            let entry = entry.at("list", self.root())?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let Some(bytes) = check_name(&name)
                .ok()
                .filter(|()| entry.path().join(SRC_JSON).is_file())
                .map(|()| read_file(&entry.path().join(SRC_JSON)))
            else {
                continue;
            };
            let document = SourceDocument::parse(&bytes?.unwrap_or_default(), Limits::default().document);
            if !matches!(document, Err(SourceError::Spec(_))) {
                apps.push(name);
            }
        }
        apps.sort();
        Ok(apps)
    }

    /// Where the app `name` is or would be.
    ///
    /// # Errors
    /// [`Error::AppName`] when no app can have that name.
    pub fn app_dir(&self, name: &str) -> Result<PathBuf, Error> {
        check_name(name).map_err(Error::AppName)?;
        Ok(self.root().join(name))
    }

    /// Deletes the directory of the app `name`. As with pvr, `_config/<name>` and `_sigs/<name>.json` stay, and the
    /// committed state changes with the next commit.
    ///
    /// # Errors
    /// [`Error::NoSuchApp`] without `src.json`; [`Error::AppName`], [`Error::Io`].
    pub fn remove_app(&self, name: &str, observer: &dyn Observer) -> Result<(), Error> {
        let directory = self.app_dir(name)?;
        let _lock = self.lock(observer)?;
        let is_directory = fs::symlink_metadata(&directory).is_ok_and(|metadata| metadata.is_dir());
        if !is_directory || !directory.join(SRC_JSON).is_file() {
            return Err(Error::NoSuchApp(name.to_owned()));
        }
        self.staging()?.discard_directory(&directory)
    }
}
