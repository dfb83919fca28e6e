//! A lamp has no files.

use scores::files::FilesScore;
use scores::{Registry, Topology};

struct Lamp;

impl Topology for Lamp {
    fn name(&self) -> &str {
        "lamp"
    }
}

fn main() {
    let _registry = Registry::<Lamp>::new().with::<FilesScore>();
}
