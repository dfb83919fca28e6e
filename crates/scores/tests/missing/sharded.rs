//! Nor have some that share them.

use scores::files::FilesScore;
use scores::topology::Sharded;
use scores::{Registry, Topology};

struct Lamp;

impl Topology for Lamp {
    fn name(&self) -> &str {
        "lamp"
    }
}

fn main() {
    let _registry = Registry::<Sharded<Lamp>>::new().with::<FilesScore>();
}
