//! Sizes of peers' results from earlier runs: by the digests of base and target, the program's version and its script.
//!
//! bsdiff's patches are kept, too, so that bspatch can be timed without making them again.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use super::Pair;
use super::recipes::{BSDIFF, Recipe};
use crate::bench::pairs::sha256;
use crate::{Failure, peers};

/// What is known of one pair.
pub struct Cache {
    /// Files' common beginning; `None` remembers nothing.
    prefix: Option<PathBuf>,
    hits: Cell<usize>,
}

impl Cache {
    /// Opens what the directory holds on this pair.
    ///
    /// # Errors
    /// The directory cannot be made or the pair cannot be read.
    pub fn open(directory: Option<&Path>, pair: &Pair) -> Result<Self, Failure> {
        let Some(directory) = directory else { return Ok(Self { prefix: None, hits: Cell::new(0) }) };
        std::fs::create_dir_all(directory).map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        let name = format!("{:.16}-{:.16}", sha256(&pair.base)?, sha256(&pair.target)?);
        // Scripts run elsewhere.
        let whole = directory.canonicalize();
        let whole = whole.map_err(|error| format!("cannot find {}: {error}", directory.display()))?;
        Ok(Self { prefix: Some(whole.join(name)), hits: Cell::new(0) })
    }

    /// How many figures came from here.
    pub fn hits(&self) -> usize {
        self.hits.get()
    }

    /// The size of what a peer made, if it is known.
    pub fn size(&self, recipe: &Recipe) -> Option<u64> {
        let text = std::fs::read_to_string(self.path(recipe)?).ok()?;
        let size = parse(&text, recipe)?;
        self.hits.set(self.hits.get() + 1);
        Some(size)
    }

    /// bsdiff's patch.
    pub fn patch(&self) -> Option<PathBuf> {
        let text = std::fs::read_to_string(self.path(&BSDIFF)?).ok()?;
        let path = self.path(&BSDIFF)?.with_extension("patch");
        (std::fs::metadata(&path).ok()?.len() == parse(&text, &BSDIFF)?).then_some(path)
    }

    /// Remembers a size, and of bsdiff the patch.
    pub fn keep(&self, recipe: &Recipe, size: u64, file: &Path) -> Result<(), Failure> {
        let Some(path) = self.path(recipe) else { return Ok(()) };
        let patch = if recipe.name == BSDIFF.name {
            std::fs::copy(file, path.with_extension("patch")).map(|_| ())
        } else {
            Ok(())
        };
        let kept = patch.and_then(|()| std::fs::write(&path, format!("{size}\n{}\n", recipe.make)));
        kept.map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    fn path(&self, recipe: &Recipe) -> Option<PathBuf> {
        let prefix = self.prefix.as_ref()?;
        let word = |text: &str| text.replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let version = peers::version(recipe.package)?;
        Some(PathBuf::from(format!("{}-{}-{}", prefix.display(), word(recipe.name), word(&version))))
    }
}

/// The size, when it is that of this script's result.
fn parse(text: &str, recipe: &Recipe) -> Option<u64> {
    let (size, script) = text.split_once('\n')?;
    (script.trim_end() == recipe.make.trim_end()).then(|| size.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::delta::recipes::BALENA;

    #[test]
    fn another_script_has_another_size() {
        assert_eq!(parse(&format!("17\n{}\n", BSDIFF.make), &BSDIFF), Some(17));
        assert_eq!(parse(&format!("17\n{}\n", BSDIFF.make), &BALENA), None);
        assert_eq!(parse("17", &BSDIFF), None);
    }

    #[test]
    fn nothing_is_remembered_without_a_directory() {
        let cache = Cache { prefix: None, hits: Cell::new(0) };
        cache.keep(&BSDIFF, 1, Path::new("none")).unwrap();
        assert_eq!((cache.size(&BSDIFF), cache.patch(), cache.hits()), (None, None, 0));
    }
}
