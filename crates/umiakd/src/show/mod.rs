//! What the agent's documents look like to people. Nothing is decided here, and nothing is asked.

mod history;
mod plan;
mod status;
mod watch;

pub use history::history;
pub use plan::{changes, fit};
pub use status::status;
pub use watch::Watch;

/// A moment as people write it, in UTC; a dash where the clock was never set.
pub fn moment(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "-".to_owned(), umiak_ui::rfc3339)
}
