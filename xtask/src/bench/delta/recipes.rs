//! The peers: how each makes what a device would download, and how that becomes the target again.

use super::Pair;
use super::cache::Cache;
use super::figures::{Figures, Size};
use crate::Failure;

/// A peer. Its scripts run in an empty directory.
pub struct Recipe {
    /// What tables call it.
    pub name: &'static str,
    /// The Debian package of the program.
    pub package: &'static str,
    /// Makes the file `out`.
    pub make: &'static str,
    /// Makes `again` of it, or fails.
    pub apply: &'static str,
    /// Whether the base is used: whether it is a delta.
    pub delta: bool,
}

/// What ours is timed with.
pub const BSDIFF: Recipe = Recipe {
    name: "bsdiff",
    package: "bsdiff",
    make: "bsdiff $BASE $TARGET out",
    apply: "bspatch $BASE again out",
    delta: true,
};

/// What balena sends: librsync with blocks of 512 bytes, packed as layers are.
pub const BALENA: Recipe = Recipe {
    name: "rdiff -b 512, gzip -9",
    package: "rdiff",
    make: "rdiff -f -b 512 signature $BASE signature; rdiff -f delta signature $TARGET delta; gzip -n -9 -c delta > out",
    apply: "gzip -dc out > delta; rdiff -f patch $BASE delta again",
    delta: true,
};

/// All, in the order of the table.
pub const RECIPES: [Recipe; 7] = [
    BSDIFF,
    Recipe {
        name: "whole layer, gzip -6",
        package: "gzip",
        make: "gzip -n -6 -c $TARGET > out",
        apply: "gzip -dc out > again",
        delta: false,
    },
    Recipe {
        name: "whole layer, zstd -19",
        package: "zstd",
        make: "zstd -q -19 -T1 $TARGET -o out",
        apply: "zstd -q -d out -o again",
        delta: false,
    },
    BALENA,
    Recipe {
        name: "ostree static-delta",
        package: "ostree",
        // OSTree holds no devices.
        make: "ostree --repo=repo init --mode=archive; \
            commit() { cp $2 plain.tar; tar --delete --wildcards -f plain.tar 'dev/*' './dev/*' 2>/dev/null || true; \
                ostree --repo=repo commit -b $1 --tree=tar=plain.tar --tar-autocreate-parents; rm plain.tar; }; \
            base=$(commit base $BASE); target=$(commit target $TARGET); \
            ostree --repo=repo static-delta generate --from=$base --to=$target --inline --min-fallback-size=0 \
                --max-bsdiff-size=1000 --filename=out; \
            ostree --repo=device init --mode=bare-user; ostree --repo=device pull-local repo base; \
            echo $target > target",
        // A tree and not a tar: the commit's objects are all there and hash to their names.
        apply: "ostree --repo=device static-delta apply-offline out; ostree --repo=device refs --create=target $(cat target); \
            ostree --repo=device fsck -q; cp $TARGET again",
        delta: true,
    },
    Recipe {
        name: "xdelta3 -9",
        package: "xdelta3",
        make: "xdelta3 -9 -f -e -s $BASE $TARGET out",
        apply: "xdelta3 -d -f -s $BASE out again",
        delta: true,
    },
    Recipe {
        name: "zstd --ultra -22 --long=31 --patch-from",
        package: "zstd",
        make: "zstd -q --ultra -22 --long=31 --patch-from=$BASE $TARGET -o out",
        apply: "zstd -q -d --long=31 --patch-from=$BASE out -o again",
        delta: true,
    },
];

/// Adds the sizes of all peers; bsdiff's was noted when it was timed, if it was.
pub fn measure(pair: &Pair, cache: &Cache, figures: &mut Figures) -> Result<(), Failure> {
    for recipe in RECIPES.iter().filter(|recipe| figures.size(recipe.name).is_none()).collect::<Vec<_>>() {
        let bytes = match cache.size(recipe) {
            Some(bytes) => bytes,
            None => make(pair, cache, recipe)?,
        };
        note(recipe, bytes, figures);
    }
    Ok(())
}

/// Adds the size of one.
pub fn note(recipe: &Recipe, bytes: u64, figures: &mut Figures) {
    figures.note(Size { method: recipe.name.into(), bytes, delta: recipe.delta, ours: false });
}

/// Makes a peer's file in `peer`, and remembers its size once it was applied.
pub fn make(pair: &Pair, cache: &Cache, recipe: &Recipe) -> Result<u64, Failure> {
    eprintln!("{}: {}", pair.name, recipe.name);
    pair.shell.prepare(&format!("rm -rf peer; mkdir peer; cd peer; {}", recipe.make))?;
    pair.shell.prepare(&format!("cd peer; {}; cmp again $TARGET; rm again", recipe.apply))?;
    let bytes = pair.shell.size("peer/out")?;
    cache.keep(recipe, bytes, &pair.shell.directory().join("peer/out"))?;
    Ok(bytes)
}
